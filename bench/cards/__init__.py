"""Cards: TOML files that describe models, data sets and recipes. They are validated on load."""
