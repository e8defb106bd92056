"""The `triton` backend: a kernel for GPUs that Triton compiles."""
