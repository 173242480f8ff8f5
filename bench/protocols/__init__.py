"""Protocols: recipes from observations to confusion rows. No protocol has metric code of its own."""
