"""The `torch` backend: tensor operations only, on every device."""
