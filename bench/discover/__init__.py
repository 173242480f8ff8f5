"""Discover: reads a folder of images and masks, and describes it as a data-set card.

`tree` says which files belong together, `masks` what is in the masks, `mistaken` which images may be masks, `names`
what the classes are called, `classes` what the values mean, and `card` writes it down.
"""
