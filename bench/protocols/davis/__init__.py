"""The protocol `davis`: the objects of a video's first frame are followed through the other frames."""
