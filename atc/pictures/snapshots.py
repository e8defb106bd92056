"""What a trace has of one image, as it is drawn."""

from typing import NamedTuple

from atc.core import Trace
from atc.pictures.regions import Array, Labels


class Snapshot(NamedTuple):
    """The tokens of one image after one reduction."""

    block: int  # 1-based
    tokens: int  # patch tokens left
    source: Labels  # [N0], token holding each patch; -1 = pruned
    shares: Array | None = None  # [N0, K], how a soft method shares each patch out; None = whole, by `source`


def snapshots(trace: Trace, index: int) -> list[Snapshot]:
    """One image after each reduction: its real tokens, and for soft methods how they share the patches.

    Args:
        trace: of a forward pass.
        index: which image of the batch.
    """
    found = []
    for number, stage in enumerate(trace):
        shares = None
        if Trace(trace[: number + 1]).soft():
            shares = trace.source_shares(number)[index].detach().double().cpu().numpy()
        source = stage.source[index].cpu().numpy()
        found.append(Snapshot(stage.block, stage.real(index), source, shares))
    return found
