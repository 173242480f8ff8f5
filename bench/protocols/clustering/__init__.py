"""The protocol `clustering`: K-means on one prototype per image."""
