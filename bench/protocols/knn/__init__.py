"""The protocol `knn`: each pixel takes the label that the nearest labelled patches have at its position."""
