"""What a model around a wrapped ViT shows of it."""

from typing import Any

from torch import Tensor, nn

from atc.core import StageCount, Trace


class AroundViT(nn.Module):
    """A model around a ViT whose tokens are reduced; its reducers, counts and trace are those of that ViT."""

    @property
    def reduced(self) -> Any:
        """The wrapped ViT."""
        raise NotImplementedError

    @property
    def method(self) -> Any:
        """The reducer class."""
        return self.reduced.method

    @property
    def host(self) -> Any:
        """The description of the ViT."""
        return self.reduced.host

    @property
    def schedule(self) -> Any:
        """How many tokens are left where."""
        return self.reduced.schedule

    @property
    def reducers(self) -> Any:
        """One per reducing block."""
        return self.reduced.reducers

    @property
    def notices(self) -> list[str]:
        """One line per count the method could not reach."""
        return list(self.reduced.notices)

    @property
    def stage_counts(self) -> list[StageCount]:
        """Counts at the ViT's default image size."""
        return list(self.reduced.stage_counts)

    @property
    def trace(self) -> Trace:
        """What happened to the tokens in the latest forward of the ViT."""
        found: Trace = self.reduced.trace
        return found

    @property
    def losses_ask(self) -> bool:
        """Whether the losses of a reducer ask for more than plans."""
        return bool(self.reduced.losses_ask)

    @property
    def loss_weights(self) -> dict[str, float]:
        """How much each loss of the reducers counts."""
        return dict(self.reduced.loss_weights)

    def losses(self, **known: Any) -> dict[str, Tensor]:
        """The reducers' own losses for the latest training forward; see `ReducedViT.losses`."""
        return dict(self.reduced.losses(**known))
