"""Finds the packages; everything else about them stands in setup.cfg."""

from setuptools import find_packages, setup

# models/, datasets/ and results/ are data, not code: inside the wheel they travel below bench/, so that
# no top-level package called `datasets` can overwrite somebody else's.
setup(packages=[*find_packages(include=["bench", "bench.*"]), "bench.models", "bench.datasets", "bench.results"])
