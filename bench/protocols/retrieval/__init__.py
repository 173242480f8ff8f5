"""The protocols `retrieval-21` and `retrieval-7`: each image takes the class of its nearest labelled neighbour."""
