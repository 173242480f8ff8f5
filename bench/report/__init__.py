"""Report: records and published figures as tables, pages, checks and comparisons; no torch, no data."""
