"""Passes: images streamed through a network, and the cache of what was found in them."""
