"""Cards: what models, data sets, recipes and presets are, as text files that are validated on load."""
