"""What a model costs: operations, images per second, memory, tokens; used by runs, benchmarks and reports."""
