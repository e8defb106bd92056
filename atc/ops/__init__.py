"""Algorithms with more than one implementation; the lowest room, which imports nothing of ours."""
