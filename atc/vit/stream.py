"""The token sequence of one forward, one block at a time."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from atc.core import BlockGate, Plan, Reducer, StageCount, StageTrace, TokenView, Trace
from atc.core.applying import reduce_tokens
from atc.core.reductions import Reductions
from atc.vit.attention import Seen
from atc.vit.blocks import merge_rope
from atc.vit.gating import check_step, gated, shown_block
from atc.vit.hooks import through_hooks
from atc.vit.lazy_view import LazyView
from atc.vit.packing import Held, Packing, attended, packing_of, second_half
from atc.vit.patches import embedded, expanded, grouped, ready
from atc.vit.valid import key_bias, size_bias, with_prefix

if TYPE_CHECKING:
    from atc.vit.reduced import ReducedViT


class Stream(Held):
    """Images on their way through a `ReducedViT`: `step` runs one block, `finish` the norm and the head.

    What reduces (and when) is the model's; a caller may look at the tokens, or change them, between two steps.

    Attributes:
        last: the number of the latest block that ran; 0 before the first.
        active: the blocks that reduce these images, and how.
        valid: ``[B, N]`` which tokens count, as in `Plan.valid`; None where all do.
        grid: rows and columns of the source patches.
        reductions: those so far, of which every later block sees the outcome.
        passing: those so far that are of one block only (`Reducer.gates`).
        gates: each gate that was applied so far, and its plan.
        left: ``[B, N0, C]`` the value with which each pruned patch left, where `keep_pruned` is set; else None.
        seen: what the latest attention showed.
        packing: how the tokens are packed (`atc.vit.packing`); None where they are padded, or all count.
        run: calls a part of a block, with its activations recomputed for gradients where the model is set so.

    Args:
        model: the wrapped model.
        images: ``[B, 3, H, W]``; None where there are `tokens`.
        keep_pruned: keep the values of pruned patches.
        options: further arguments of the host's `embed`.
        also: what every attention is to show, in the words of `Reducer.needs`.
        tokens: ``[B, P+N, C]`` that enter the first block, made elsewhere, instead of images.
        grid: rows and columns of their patches.
        rope: their rotary embeddings, for a model that rotates positions.
    """

    def __init__(
        self,
        model: "ReducedViT",
        images: Tensor | None = None,
        keep_pruned: bool = False,
        options: Mapping[str, Any] | None = None,
        also: frozenset[str] = frozenset(),
        *,
        tokens: Tensor | None = None,
        grid: tuple[int, int] | None = None,
        rope: Tensor | None = None,
    ):
        self.model, self.prefix, self.last = model, model.host.prefix, 0
        given = embedded(model, images, options) if tokens is None else ready(model, tokens, grid, rope)
        self.x, self.rope, self.grid = given
        # What only a reduction or a trace reads is made when it is read: a dense forward launches nothing for it.
        self._size: Tensor | None = None
        self.left = self.x[:, self.prefix :] if keep_pruned else None
        self.reductions, self.passing = Reductions(), Reductions(passing=True)
        self.plans: dict[str, list[Plan]] = {}
        self.gates: list[tuple[BlockGate, Plan]] = []
        self.valid: Tensor | None = None
        self._keep_pruned = keep_pruned
        self._single = True  # each token is one patch: sizes are ones, and pruning leaves them so
        self.packing: Packing | None = None
        self.bias: Tensor | None = None  # [B, P+N] added to the attention logits of each key
        self.policy: Tensor | None = None  # [B, P+N] of methods that mask in training
        if model.method.masks_training and model.training:
            self._mask(torch.ones_like(self.size))
        self._also, self.seen = also, Seen()
        self.active = model.active(self.num_tokens, self.grid)
        recompute = model.host.recomputes() and model.training and torch.is_grad_enabled()
        self.run: Callable[..., Any] = (
            functools.partial(checkpoint, use_reentrant=False) if recompute else operator.call
        )

    @property
    def num_tokens(self) -> int:
        """N, the patch tokens now."""
        return self.x.shape[1] - self.prefix

    @property
    def size(self) -> Tensor:
        """``[B, N]`` float, source patches of each token."""
        if self._size is None:
            # Sizes are counts: float32 even where tokens are half precision (bfloat16 is exact up to 256 only).
            dtype = torch.float64 if self.x.dtype == torch.float64 else torch.float32
            self._size = torch.ones(self.x.shape[0], self.num_tokens, device=self.x.device, dtype=dtype)
        return self._size

    @property
    def source(self) -> Tensor:
        """``[B, N0]`` int64, token that holds each source patch; -1 where it was pruned."""
        return self._source_after(len(self.reductions.made))

    @property
    def weighs_keys(self) -> bool:
        """Whether attention adds log(size) to the logits of its keys."""
        return self.bias is not None and self.model.proportional_attention

    @property
    def decided(self) -> Reductions:
        """The reductions of the model's method so far, whichever kind they are."""
        return self.passing if self.model.method.gates else self.reductions

    @property
    def stages(self) -> list[StageTrace]:
        """One per reduction so far."""
        return self.decided.stages()

    def _source_after(self, reductions: int) -> Tensor:
        if reductions:
            return self.reductions.source(reductions)
        return torch.arange(self.grid[0] * self.grid[1], device=self.x.device).expand(self.x.shape[0], -1)

    def step(self, number: int, gate: BlockGate | None = None) -> None:
        """Run a block, with the reduction that is due there.

        Args:
            number: of the block, 1-based: that of the step before, plus one.
            gate: chooses the patch tokens that this block computes; the others pass by unchanged. No reduction may be
                due at this block.

        Raises:
            ValueError: another block than the next, or a gate at one that reduces.
        """
        check_step(self, number, gated=gate is not None)
        block = self.model.host.blocks[number - 1]
        run = functools.partial(self._block, number, shown := shown_block(self.model, block))
        if gate is not None:
            run = functools.partial(gated, self, number, shown, gate)
        elif self.model.method.gates and number in self.active:
            run = functools.partial(gated, self, number, shown, self._reducer(self.active[number]))
        whole = gate is not None or self.model.method.gates  # looks at all tokens, which else may stay packed
        self.held = through_hooks(number, block, run, self.x if whole else self.held)
        self.last = number

    def _block(self, number: int, block: Any, x: Any) -> Any:
        before = self.model.method.site == "before_block"
        self.held = x
        here, after = self.active.get(number), self.active.get(number + 1)
        if here is not None and before:
            self._reduce(here)
        looking = None if self.model.method.gates else after if before else here
        needs = frozenset() if looking is None else self._reducer(looking).needs | {"keys"}
        self.held, self.seen = attended(self, block, needs | self._also, whole=here is None or before)
        if here is None or before:
            return self.held
        self._reduce(here)
        return second_half(self, block)

    def _reducer(self, count: StageCount) -> Reducer:
        return self.model.reducers[str(count.block)]  # type: ignore[return-value]  # it holds reducers only

    def _reduce(self, count: StageCount) -> None:
        """Have the reducer make a plan, and apply it to tokens, sizes, source map and rotary positions."""
        model, reducer = self.model, self._reducer(count)
        count = count._replace(keep=min(count.keep, self.num_tokens))  # slots that nobody fills were cut off before
        view, weight = self.view(self.x), self._weight()
        stays = model.method.masks_training and model.training
        num_out = self.num_tokens if stays else count.keep + model.method.extra
        if self._keep_pruned:
            self.left = self.expanded()
        self.x, reduction = reduce_tokens(reducer, self.x, view, count, num_out, weight)
        self.reductions.made.append(reduction)
        self._size, plan = reduction.size, reduction.plan
        if self.rope is not None:
            self.rope = merge_rope(self.rope, plan, weight)
        self._single = self._single and plan.keeps_tokens
        self._mask(plan.valid)
        if model.method.by_threshold and not model.training:  # random depth draws by image
            self.packing = packing_of(self)
        self.plans[str(count.block)] = [plan]

    def view(self, x: Tensor) -> TokenView:
        """What a reducer sees of tokens ``[B, P+N, C]``."""
        seen = self.seen

        def patches() -> Tensor:
            return x[:, self.prefix :]

        keys = functools.partial(seen.mean_keys, x, self.prefix)
        source = functools.partial(self._source_after, len(self.reductions.made))
        # Code that is traced has nothing to gain: what is not read is left out of the graph.
        traced = torch.compiler.is_compiling()
        lazy: Any = (patches(), keys(), source()) if traced else (patches, keys, source)
        return (TokenView if traced else LazyView)(
            *(lazy[0], lazy[1], self.size, lazy[2], self.grid, seen.cls_attn, seen.values, seen.attn),
            valid=self.valid,
            prefix=self.prefix,
            queries=seen.queries,
            input=seen.input,
            attention_output=seen.attention_output,
            plan=self.reductions.made[-1].plan if self.reductions.made else None,
        )

    def _weight(self) -> Tensor:
        """[B, N]: how much each token counts in a mean."""
        sized = self.model.size_weighted or self._single
        weight = self.size if sized else torch.ones_like(self.size)
        return weight if self.valid is None else weight * self.valid

    def _mask(self, valid: Tensor | None) -> None:
        """Let these tokens count, and no others, from here on."""
        self.valid = valid
        if self.model.method.masks_training and self.model.training and valid is not None:
            self.policy, valid = with_prefix(valid.to(self.size.dtype), self.prefix), None
        size = self.size if self.model.proportional_attention and not self._single else None
        self.bias = key_bias(size, valid, self.prefix, size_bias(self.model))

    def expanded(self) -> Tensor:
        """``[B, N0, C]``: every source patch with the value of its token, a pruned one with its last value, or 0."""
        return expanded(self)

    def replace(self, values: Tensor) -> None:
        """Replace the patch tokens by what their source patches, ``[B, N0, C]``, have become: undoes `expanded`."""
        if self._keep_pruned:
            self.left = values
        self.x = torch.cat([self.x[:, : self.prefix], grouped(self, values)], dim=1)

    def trace(self) -> Trace:
        """The reductions so far."""
        return self.decided.trace()

    def features(self) -> Tensor:
        """``[B, P+N, C]`` tokens after the model's final norm."""
        return self.model.host.norm(self.x)

    def finish(self) -> Tensor:
        """Norm, pooling and head: ``[B, classes]``; sets the model's `trace`."""
        features = self.features()
        logits = self.model.pooled(features, self.size if self.reductions.made else None, self.valid)
        self.model.note(self, features, logits)
        return logits
