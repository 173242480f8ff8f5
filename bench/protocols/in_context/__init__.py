"""The protocol `in-context`: patches take their labels from the nearest patches of labelled images."""
