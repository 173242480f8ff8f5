"""Runs: from what the user named to a record, and to what is written beside it."""
