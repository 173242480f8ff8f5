"""Base: files, threads, packed arrays, text escaping, errors. All other folders import it; it imports none of them."""
