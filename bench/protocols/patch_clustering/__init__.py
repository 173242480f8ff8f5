"""The protocol `patch-clustering`: K-means on all patch tokens."""
