"""The protocol `davis`: the first frame's objects, carried through a video."""
