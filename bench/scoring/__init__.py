"""Scoring: from counts to figures, intervals and tests; numpy, scipy and faiss, no torch."""
