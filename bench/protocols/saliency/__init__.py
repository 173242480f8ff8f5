"""The protocol `saliency`: an image's foreground is found without a label, and held against an annotated mask."""
