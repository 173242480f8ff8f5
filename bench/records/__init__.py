"""Records: the JSON files of runs, their rows, and the published figures that they are compared with."""
