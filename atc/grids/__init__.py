"""Sweeps: grids of settings, who does which run of them, and how far they have come."""
