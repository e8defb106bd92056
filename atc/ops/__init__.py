"""Algorithms with more than one implementation; no model, no data set, no setting."""
