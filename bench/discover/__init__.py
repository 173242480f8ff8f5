"""Discover: reads a folder of images and masks, and describes it as a data-set card.

`tree` says which files belong together, by the words in their names (`file_words`), the lists (`split_lists`) and
labelme's folders (`labelme`). `opened` looks into one pair, `masks` says what all masks hold, `masks_taken_for_images`
which images may be masks, `names` what the classes are called, `classes` what the values mean, and `card` writes it
down.
"""
