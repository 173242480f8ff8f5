"""The protocol `linear-patches`: a logistic regression on the features of patches."""
