"""The protocol `discovery`: one box is found in every image without a label, and held against annotated boxes."""
