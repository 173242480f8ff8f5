"""The protocol `linear`: a 1×1 convolution on frozen features."""
