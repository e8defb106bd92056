"""Choosing a method and a schedule at a given cost, without labels: `python -m atc.choose`."""
