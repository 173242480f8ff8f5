"""Reproduce: the table of a paper: what its rows need, their runs, and the table as printed beside what came out."""
