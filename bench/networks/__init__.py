"""Networks: architectures, checkpoints read safely, and the subject of a run."""
