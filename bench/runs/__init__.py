"""Runs: from the names that the user gives to a record, and to the files beside it."""
