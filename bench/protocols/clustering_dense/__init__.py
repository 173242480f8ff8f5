"""The protocol `clustering-dense`: K-means on pixels."""
