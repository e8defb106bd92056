"""What a model costs: images per second, floating-point operations."""
