"""Protocols: recipes from images to figures, a folder for each; `registry` lists them."""
