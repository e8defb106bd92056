"""What a trace has of one image, as it is drawn."""

from atc.core import Trace
from atc.pictures.figure import Snapshot


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
