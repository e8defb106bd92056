"""python -m atc.bench detection: options that nothing could be measured with."""

from tests.mistakes import Mistake

_LINES = [
    ("--model deit_huge", "--model: invalid choice: 'deit_huge'"),
    ("--size 800", "--size: expected 2 arguments"),
    ("--size 800 8", "--size: 8 must be a whole number, from 32"),
    ("--size 8192 8192 --batch 512", "attention among 262,144 tokens takes", "this machine has"),
    ("--methods atc_averag", "--methods atc_averag", "did you mean 'atc_average'?"),
    ("--keep-rates 0", "--keep-rates: 0 must lie in (0, 1]"),
    ("--precision fp16", "--precision fp16 is for GPUs"),
    ("--runs 0", "--runs: 0 must be a whole number"),
]
_BUILT = [
    ("--methods topk", "--methods topk --keep-rates 0.5: ", "CLS"),
    ("--methods sinkhorn", "--methods sinkhorn --keep-rates 0.5: ", "(Mix)"),
    ("--methods tome --keep-rates 0.25", "--methods tome --keep-rates 0.25: ", "it reaches 2100 at the fewest"),
]
MISTAKES = [
    *(Mistake(f"bench detection {line}", tuple(says), without_torch=True) for line, *says in _LINES),
    *(Mistake(f"bench detection {line}", tuple(says), slow=True) for line, *says in _BUILT),
]
