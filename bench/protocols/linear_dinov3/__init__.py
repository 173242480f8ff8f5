"""The protocol `linear-dinov3`: batch norm, dropout and a 1×1 convolution on frozen features, seen by windows."""
