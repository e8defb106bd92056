"""Everything that turns a weight file into a state dict of a model."""
