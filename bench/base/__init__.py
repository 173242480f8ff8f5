"""Base: files, threads, packed arrays, text escaping, errors. All other folders stand on it; it knows none."""
