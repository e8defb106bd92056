"""Ranges of settings, written beside their types: the commands check values against them before anything is built."""

from typing import Annotated

Count = Annotated[int, "[1, inf)"]
Share = Annotated[float, "[0, 1]"]
HeldOut = Annotated[float, "(0, 1)"]  # a share that leaves something on both sides
Strength = Annotated[float, "[0, inf)"]
Side = Annotated[int, "[1, 4096]"]  # pixels of a picture
Workers = Annotated[int, "[0, 512]"]  # processes of one loader
Seed = Annotated[int, "[0, 4294967295]"]  # what NumPy takes
