"""A stock ViT that reduces its tokens on the way through."""

import logging
import warnings
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from atc.core import LossContext, Plan, Schedule, StageCount, Trace
from atc.core.reductions import Reductions
from atc.values import checked
from atc.vit import intermediates
from atc.vit.building import ReducerFactory as ReducerFactory
from atc.vit.building import notices_for, reducer_arguments, reducers_for
from atc.vit.building import reducer_class as reducer_class
from atc.vit.counting import check_needs, check_threshold, counts_of, has_counts_of_its_own, tokens_per_block
from atc.vit.host import host_of, wrapper_of
from atc.vit.reducer_losses import takes_context, total_losses
from atc.vit.state_dict import take_plain_dicts
from atc.vit.stream import Stream
from atc.vit.valid import pooling_weights, without_padding
from atc.vit.wrapper import Wrapper

log = logging.getLogger(__name__)

_NOT_FOLLOWED = "{} cannot follow how a wrapped model chooses its tokens; torch.export.export and torch.compile can"


class ReducedViT(Wrapper):
    """Runs the unmodified blocks of a model and lets one reducer per scheduled block shorten the sequence.

    The parameters, buffers and modules of the model are those of the wrapper, under the names they have in the model:
    `state_dict`, `named_parameters` and `named_modules` agree, and what is written for the model (optimisers with
    parameter groups by name, adapters, moving averages) works on the wrapper. A plain state dict of the model loads;
    `atc.unwrap(model).state_dict()` is one.

    Args:
        vit: the model, of a family in `atc/vit/hosts/`; not changed, nor copied.
        reducer: a Reducer class, or a partial of one; called with a `Stage` per reducing block.
        schedule: how many tokens are left where.
        proportional_attention: add log(size) to the attention logits of each key once tokens have merged.
        size_weighted: weigh means, and a pooling over patches, by size; False counts every current token once.
            Both default to what the method's paper states (`Reducer.proportional_attention`, `.size_weighted`).

    Attributes:
        host: the `Host` that describes the model; `host.model` is the model.
        reducers: one per reducing block, by its number as text: `model.reducers["4"]`.
        stage_counts: a `StageCount` for each stage, at the default image size.
        notices: one line per count the method could not reach.
        reducer_arguments: those that the reducers were made with.
        counts_of_grid: whether the method has `possible_counts`.
        known_counts: the counts that `counts` found so far.
        losses_ask: whether the losses of a reducer ask for more than plans, as `LossContext` has it.

    Raises:
        ValueError: a model, schedule or method that cannot be used, in one line.
    """

    def __new__(cls, vit: nn.Module | None = None, *args: Any, **kwargs: Any) -> "ReducedViT":
        """Choose the subclass that is called as models of this family are; copying and unpickling name it."""
        return super().__new__(wrapper_of(vit) if cls is ReducedViT and vit is not None else cls)

    @checked
    def __init__(
        self,
        vit: nn.Module,
        reducer: ReducerFactory,
        schedule: Schedule,
        proportional_attention: bool | None = None,
        size_weighted: bool | None = None,
    ):
        super().__init__(host_of(vit))
        host = self.host
        method = reducer_class(reducer)
        check_threshold(method, getattr(schedule, "threshold", None))
        self.method, self.schedule = method, schedule
        self.prefix, self.depth = host.prefix, len(host.blocks)
        self.proportional_attention = _default(proportional_attention, method.proportional_attention)
        self.size_weighted = _default(size_weighted, method.size_weighted)
        self.reducer_arguments = reducer_arguments(reducer)
        self.known_counts: dict[tuple[int, int] | int, list[StageCount]] = {}
        self.counts_of_grid = has_counts_of_its_own(self)
        self.stage_counts = self.counts(host.num_patches)
        # With counts of its own it may reduce other images at blocks where it reduces none of these.
        reducing = [count for count in self.stage_counts if self.counts_of_grid or self.reduces(count)]
        self.reducers = reducers_for(reducer, reducing, host)
        like = next((p for p in vit.parameters() if p.is_floating_point()), None)
        if like is not None:
            self.reducers.to(like.device, like.dtype)
        check_needs(self)
        self.notices = notices_for(method, self.stage_counts, self.counts_of_grid)
        for notice in self.notices:
            log.warning(notice)
        self._reductions = Reductions()
        self._plans: dict[str, list[Plan]] = {}
        self._context: LossContext | None = None
        self.losses_ask = any(takes_context(reducer) for reducer in self.reducers.values())
        take_plain_dicts(self)
        self.train(vit.training)  # wrapping changes no mode: reducers follow the backbone's

    def forgotten(self) -> dict[str, Any]:
        """The reductions and the plans of the latest forward."""
        return {"_reductions": Reductions(), "_plans": {}, "_context": None}

    @property
    def trace(self) -> Trace:
        """What the latest forward did to its tokens, computed when it is read."""
        return self._reductions.trace()

    @property
    def plan(self) -> list[StageCount]:
        """Deprecated name of `stage_counts`."""
        warnings.warn("ReducedViT.plan is now stage_counts", DeprecationWarning, stacklevel=2)
        return self.stage_counts

    def counts(self, num_patches: int, grid: tuple[int, int] | None = None) -> list[StageCount]:
        """The token counts of every reducing block, for images of `num_patches` patches.

        Args:
            num_patches: N0.
            grid: their rows and columns; None: those of the default image size, or of a square.
        """
        return counts_of(self, num_patches, grid)

    def active(self, num_patches: int, grid: tuple[int, int] | None = None) -> dict[int, StageCount]:
        """The blocks that reduce an image of this many patches; `grid` as in `counts`.

        Raises:
            ValueError: a block would have to reduce that has no reducer.
        """
        active = {c.block: c for c in self.counts(num_patches, grid) if self.reduces(c)}
        missing = [block for block in active if str(block) not in self.reducers]
        if missing:
            raise ValueError(
                f"images of {num_patches} patches need a reducer at blocks {missing}, which the default size of "
                f"{self.host.num_patches} patches does not; build the backbone at the size it will see"
            )
        return active

    def reduces(self, count: StageCount) -> bool:
        """Whether the method is called at this stage."""
        return count.keep < count.tokens_in or self.method.dynamic

    def tokens_per_block(self) -> list[float]:
        """Patch tokens entering each block, the mean over images: of the latest forward, or as planned before one."""
        return tokens_per_block(self)

    def start(self, images: Tensor | None = None, **ready: Any) -> Stream:
        """Embed images ``[B, 3, H, W]``, or take `tokens` and a `grid`: a `Stream` to be stepped, and finished."""
        if isinstance(images, torch.fx.Proxy):
            raise ValueError(_NOT_FOLLOWED.format("torch.fx.symbolic_trace"))
        return Stream(self, images, **ready)

    def __prepare_scriptable__(self) -> None:
        """Refuse `torch.jit.script`."""
        raise ValueError(_NOT_FOLLOWED.format("torch.jit.script"))

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> logits ``[B, classes]``; sets `trace`."""
        return self._through(images).finish()

    def forward_features(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> tokens ``[B, P+K, C]`` after the last block and the final norm; sets `trace`."""
        self.note(stream := self._through(images))
        return stream.features()

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify what `forward_features` returned: ``[B, P+K, C]`` -> ``[B, classes]``.

        Tokens count in a pooling as in the latest forward.
        """
        made = [] if self._reductions.passing else self._reductions.made  # behind its block, all tokens are back
        last = made[-1] if made else None
        if last is None or x.shape[:2] != (last.size.shape[0], self.prefix + last.size.shape[1]):
            return self.host.head(x, None, pre_logits)
        return self.pooled(x, last.size, last.plan.valid, pre_logits)

    def forward_intermediates(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """See `atc.vit.intermediates.forward_intermediates`."""
        return intermediates.forward_intermediates(self, x, *args, **kwargs)

    def get_intermediate_layers(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """See `atc.vit.intermediates.get_intermediate_layers`."""
        return intermediates.get_intermediate_layers(self, x, *args, **kwargs)

    def _through(self, images: Tensor) -> Stream:
        stream = self.start(images)
        for number in range(1, self.depth + 1):
            stream.step(number)
        return stream

    def note(self, stream: Stream, features: Tensor | None = None, logits: Tensor | None = None) -> None:
        """Keep what a forward did: its `trace`, and in training what `losses` needs."""
        if torch.compiler.is_compiling():
            stream.trace()  # a compiled graph computes it with the rest
        self._reductions = stream.decided
        self._plans = stream.plans if self.training else {}
        self._context = None
        if self.training and features is not None and logits is not None and self.losses_ask:
            blocks = tuple(int(block) for block in stream.plans)
            self._context = LossContext(logits, features[:, self.prefix :], stream.valid, blocks=blocks)

    def pooled(self, x: Tensor, size: Tensor | None, valid: Tensor | None, pre_logits: bool = False) -> Tensor:
        """Pool and classify tokens ``[B, P+K, C]`` after the norm -> ``[B, classes]``; see `pooling`."""
        return self.host.head(*self.pooling(x, size, valid), pre_logits)

    def pooling(self, x: Tensor, size: Tensor | None, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What a host's pooling is given: tokens, and the weights of those behind the prefix.

        Args:
            x: ``[B, P+K, C]`` tokens after the norm.
            size: ``[B, K]`` their sizes; None if nothing was reduced.
            valid: ``[B, K]`` which of them count; None for all.
        """
        weights = pooling_weights(size if self.size_weighted else None, valid)
        return without_padding(x, valid, self.prefix), weights

    def losses(
        self,
        labels: Tensor | None = None,
        teacher_logits: Tensor | None = None,
        teacher_features: Tensor | None = None,
        multilabel: bool = False,
    ) -> dict[str, Tensor]:
        """The reducers' own losses for the latest training forward, summed over stages by name, without weights.

        Args:
            labels: as in `LossContext`, of the images of that forward.
            teacher_logits: as there.
            teacher_features: as there.
            multilabel: as there.
        """
        context = self._context and self._context._replace(
            labels=labels, teacher_logits=teacher_logits, teacher_features=teacher_features, multilabel=multilabel
        )
        return total_losses(self.reducers, self._plans, context)

    @property
    def loss_weights(self) -> dict[str, float]:
        """How much each loss counts in training, by name; see `Reducer.loss_weights`."""
        reducers: Any = self.reducers.values()
        return {name: weight for reducer in reducers for name, weight in reducer.loss_weights.items()}


def _default(override: bool | None, default: bool) -> bool:
    return default if override is None else bool(override)
