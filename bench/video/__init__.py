"""Video: sequences on disk, labels carried through them, and how well they fit (spec §9)."""
