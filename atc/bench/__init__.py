"""Benchmarks, `python -m atc.bench`: speed and memory of clustering, models and pipelines, each with a result file."""
