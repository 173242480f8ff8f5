"""Reading: the spatial features of a module, whatever library it comes from."""
