"""Discover: a folder of images and masks, looked at and described as a data-set card.

`tree` says which files belong together, `masks` what is in the masks, `names` what the classes are called, and `card`
writes it down.
"""
