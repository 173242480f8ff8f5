"""The protocol `distance-matching`: labelled instances vote on every pixel."""
