"""ATC up to a distance (Haurum et al., ECCV 2024, arXiv 2409.11923): the other stopping rule of Sec. 3.2."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from typing_extensions import override

from atc.core import Assign, Counts, Plan, Reducer, Stage, TokenView
from atc.ops.linkage import labels_within
from reducers.agglomerative import check_linkage


class DynamicAgglomerative(Reducer):
    """Merges the closest clusters of tokens until the next two are further apart than the stage's threshold.

    Distances, linkages and means are those of `reducers.agglomerative.Agglomerative`; a merge at the very threshold is
    made. How many tokens are left is for each image to say, and each is what it would be by itself: what an image keeps
    depends on no other. With `keep_min` and `keep_max` equal it is that method at this count. No parameters; gradients
    flow through the merged tokens, not through the partition.

    Args:
        stage: where the instance works, with its `threshold`.
        linkage: "single", "complete" or "average"; "ward" for ablations.
        keep_min: tokens that an image keeps at the fewest, or one number for each stage.
        keep_max: tokens that an image keeps at the most, likewise; None: any number. What is compiled or exported has
            as many slots.
        linkage_backend: see `atc.ops.linkage`; None chooses by device and size.

    Raises:
        ValueError: no such linkage or backend, or bounds that do not fit the stages or each other.
    """

    proportional_attention = True
    size_weighted = True
    dynamic = True
    by_threshold = True

    def __init__(
        self,
        stage: Stage,
        linkage: Literal["single", "complete", "average", "ward"] = "average",
        keep_min: Counts = 1,
        keep_max: Counts | None = None,
        linkage_backend: str | None = None,
    ):
        super().__init__(stage)
        check_linkage(linkage, linkage_backend)
        self.linkage, self.linkage_backend = linkage, linkage_backend
        self.keep_min, self.keep_max = _of_stage("keep_min", keep_min, stage.number), None
        if keep_max is not None:
            self.keep_max = _of_stage("keep_max", keep_max, stage.number)
            if self.keep_max < self.keep_min:
                raise ValueError(f"keep_max={self.keep_max} must be at least as many as keep_min={self.keep_min}")

    @classmethod
    @override
    def most(cls, stage: int, num_tokens: int, **arguments: Any) -> int:
        keep_max = arguments.get("keep_max")
        return num_tokens if keep_max is None else _of_stage("keep_max", keep_max, stage)

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The partition of each image's tokens, `keep` of which there is room for; the other slots are padding."""
        threshold = 0.0 if self.stage.threshold is None else self.stage.threshold
        least = min(self.keep_min, keep)
        labels, counts = labels_within(
            *(view.keys, threshold, self.linkage),
            least=least,
            most=keep,
            valid=view.valid,
            backend=self.linkage_backend,
        )
        slots = torch.arange(keep, device=labels.device)
        return Assign(labels, keep, valid=slots < counts.unsqueeze(1))


def _of_stage(name: str, given: int | Sequence[int], stage: int) -> int:
    """What a bound is at a stage."""
    if not isinstance(given, Sequence):
        return int(given)
    if stage > len(given):
        raise ValueError(f"{name}={list(given)} needs one number for each stage, and there is a stage {stage}")
    return int(given[stage - 1])
