"""The protocols `stego-cluster`, `stego-kmeans` and `stego-linear`: probes on a code that is upsampled before them."""
