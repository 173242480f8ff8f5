"""Protocols: the ways from a model and a data set to figures, a folder for each; `registry` lists them."""
