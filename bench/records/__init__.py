"""Records: what a run leaves behind, its rows, and the published figures that it is held against."""
