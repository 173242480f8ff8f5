"""The protocol `linear-leopart`: a 1×1 convolution on tokens, trained at 100×100."""
