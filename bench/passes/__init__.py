"""Passes: run a network over images, and keep the results in the cache."""
