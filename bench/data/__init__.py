"""Data: from a data set's card to decoded images and labels, and to the input of the network."""
