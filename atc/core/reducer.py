"""The one interface of every token reduction method."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from atc.core.plan import Plan
from atc.values import checked


class TokenView(NamedTuple):
    """What a reducer may see: patch tokens only, prefix tokens (CLS, distillation, registers) never reach it.

    `keys`, `cls_attn`, `values`, `attn`, `queries`, `input` and `attention_output` come from the latest attention over
    exactly these tokens: this block's own at site "after_attention", the previous block's at site "before_block".
    """

    x: Tensor  # [B, N, C] tokens at the reduction site
    keys: Tensor  # [B, N, D] attention keys, mean over heads; D = 0 before the first block
    size: Tensor  # [B, N] float, source patches each token stands for
    source: Tensor  # [B, N0] int64, token now holding each source patch; -1 = dropped
    grid: tuple[int, int]  # rows and columns of the source patches
    cls_attn: Tensor | None = None  # [B, H, N] softmaxed CLS-to-token attention, if "cls_attn" is needed
    values: Tensor | None = None  # [B, H, N, D] attention values, if "values" is needed
    attn: Tensor | None = None  # [B, H, P+N, P+N] softmaxed, if "attn" is needed; attention is then not fused
    valid: Tensor | None = None  # [B, N] which tokens count, as in `Plan.valid`; None = all
    prefix: int = 1  # P, tokens of the sequence that stand before these
    queries: Tensor | None = None  # [B, H, N, D] attention queries, if "queries" is needed
    input: Tensor | None = None  # [B, N, C] the block's input, before its norm, if "input" is needed
    attention_output: Tensor | None = None  # [B, N, C] behind the projection, before the residual, if it is needed
    plan: Plan | None = None  # of the stage before; None at the first


class LossContext(NamedTuple):
    """What a loss may use besides plans: the outcome of the training forward that the plans were made in.

    Letters: B images, K patch tokens after the last block, C channels. A teacher reduces nothing.
    """

    logits: Tensor  # [B, classes]
    features: Tensor  # [B, K, C] patch tokens after the final norm
    valid: Tensor | None = None  # [B, K] which of them count, as in `Plan.valid`; None = all
    labels: Tensor | None = None  # [B] classes, or [B, classes] targets
    teacher_logits: Tensor | None = None  # [B, classes]; None without a teacher
    teacher_features: Tensor | None = None  # [B, N0, C] patch tokens after the teacher's final norm
    blocks: tuple[int, ...] = ()  # that reduced in that forward, 1-based
    multilabel: bool = False  # an image may have any number of labels


class Stage(NamedTuple):
    """Where one reducer instance works."""

    block: int  # 1-based, as in the papers
    dim: int  # C, channels of a token
    keep: int  # patch tokens asked for at the backbone's default image size
    depth: int = 0  # blocks of the backbone
    number: int = 1  # of the stage among those that reduce, 1-based
    tokens_in: int = 0  # patch tokens entering it at the default image size
    rate: float = 1.0  # share of the source patches asked for, before it is cut to tokens: r**s; of a count, count / N0
    threshold: float | None = None  # distance up to which tokens merge, for a method with `by_threshold`
    has_cls: bool = True  # the first prefix token of the backbone is a CLS token, which "cls_attn" is of


# Fields of the view that are there only where a method needs them.
ON_REQUEST = ("cls_attn", "values", "attn", "queries", "input", "attention_output")
_SITES = ("after_attention", "before_block")


def check_attributes(name: str, attributes: Mapping[str, Any]) -> None:
    """Raise ValueError where a method says something else than `Reducer` takes; one line.

    Args:
        name: of the method.
        attributes: of these, `site` and `needs` are looked at; a property is not.
    """
    site, needs = attributes.get("site", _SITES[0]), attributes.get("needs", frozenset())
    if not isinstance(site, property) and site not in _SITES:
        raise ValueError(f"{name}.site={site!r} must be {' or '.join(map(repr, _SITES))}")
    if isinstance(needs, property) or (isinstance(needs, (frozenset, set)) and needs <= set(ON_REQUEST)):
        return
    right = f"a set of {', '.join(ON_REQUEST)}, as in needs = frozenset({{'cls_attn'}})"
    if not isinstance(needs, (frozenset, set)):
        raise ValueError(f"{name}.needs={needs!r} must be {right}")
    unknown = sorted(map(str, needs - set(ON_REQUEST)))
    raise ValueError(f"{name}.needs: {', '.join(unknown)} is no field that can be asked for; it must be {right}")


class Reducer(nn.Module, ABC):
    """Decides which tokens belong together, whatever backbone, schedule and trainer are.

    One instance is built per reducing block. A subclass sets those attributes that differ from their defaults.

    Args:
        stage: where the instance works.

    Attributes:
        site: "after_attention" (between attention and MLP of the block) or "before_block".
        needs: which of "cls_attn", "values", "attn", "queries", "input", "attention_output" the view must hold.
        proportional_attention: whether the method, as its paper states it, adds log(size) to the attention logits of
            later blocks; `atc.wrap` takes another value.
        size_weighted: whether it weights means by size; likewise.
        reduces: False for the dense baseline, which is never called.
        extra: output tokens beyond `keep` (EViT's fused token).
        released_surplus: patch tokens the authors' every-block code leaves beyond the schedule's count when there
            is a CLS token; used only with `as_released`.
        dynamic: True where images may keep different numbers of tokens: `keep` is then the most that an image keeps,
            and the method is called also where that is all of them.
        by_threshold: True where its stages are given a distance, `Stage.threshold`, and no count: it is `dynamic`, and
            the slots of a batch that no image fills are cut off.
        masks_training: True where all N tokens stay while the model is trained, and `Plan.valid` is a floating mask of
            them (DynamicViT). The mask is applied in the attention of this block and of all later ones: only a masked
            token itself attends to it.
        gates: True where a plan is of one block only: it chooses the tokens that this block computes, and behind it
            all are back (SViT). There is an instance at every block from the schedule's first on, which is always
            `dynamic` and works "before_block"; `keep` is then the number of all tokens, of which an image may choose
            none. In training its plans keep all tokens, with a floating mask.
        size_bias: what log(size) is multiplied by where attention is proportional; see `atc.fit_size_bias`.
        norm_eps: epsilon of the layer norms of every block, in place of the model's own; None: the model's own.
        loss_weights: how much each of its `losses` counts, by name, and "base", the loss of the task; 1 by default.
        noise: random numbers to be used instead of those that the method would draw, one tensor for each instance; see
            `draw`.
        released_method: how the authors' training scripts call the method in the name of a model ("dpcknn" of
            dpcknn_small_patch16_224), where that is not the name of its file in conf/reducer; None: the same.
        released_arguments: constructor arguments by the names of the authors' settings, such as {"k_neighbors": "k"}.
        released_names: the parameters that it learns, by the names in the authors' checkpoints: beginnings of names,
            with {stage} for the 0-based number of the stage, and what stands in their place in this module, such as
            {"cluster_layers.{stage}.score.": "weight."}.
        soft: True where its plans are `Mix`: each token is shared out over several outputs.
        needs_training: True where layers that it learns start at random, so that off the shelf it means nothing.
        one_stage: True where every token must be one patch: `atc.wrap` then takes one reducing block only.
        exceptions: contract checks a method is known not to meet, each with the reason; "distinct_outputs" allows that
            an output token has no input token of its own.
    """

    site: ClassVar[Literal["after_attention", "before_block"]] = "after_attention"
    needs: frozenset[str] = frozenset()  # an instance may narrow it
    proportional_attention: ClassVar[bool] = False
    size_weighted: ClassVar[bool] = False
    reduces: ClassVar[bool] = True
    extra: ClassVar[int] = 0
    released_surplus: ClassVar[int] = 0
    released_method: ClassVar[str | None] = None
    released_arguments: ClassVar[Mapping[str, str]] = {}
    released_names: ClassVar[Mapping[str, str]] = {}
    dynamic: ClassVar[bool] = False
    by_threshold: ClassVar[bool] = False
    masks_training: ClassVar[bool] = False
    gates: ClassVar[bool] = False
    size_bias: float = 1.0  # an instance may set it; all instances of a model agree
    norm_eps: float | None = None  # an instance may set it; all instances of a model agree
    loss_weights: Mapping[str, float] = {}
    soft: ClassVar[bool] = False
    needs_training: ClassVar[bool] = False
    one_stage: ClassVar[bool] = False
    noise: Tensor | None = None
    exceptions: dict[str, str] = {}  # an instance may have more

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check the attributes of every method, and its constructor arguments against their annotations."""
        super().__init_subclass__(**kwargs)
        check_attributes(cls.__name__, {name: cls.__dict__[name] for name in ("site", "needs") if name in cls.__dict__})
        if "__init__" in cls.__dict__:
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]  # the same function, behind a check

    def __init__(self, stage: Stage):
        super().__init__()
        self.stage = stage

    @classmethod
    def least(cls, num_tokens: int) -> int:
        """The fewest of `num_tokens` tokens one step of this method can leave."""
        return 1

    @classmethod
    def most(cls, stage: int, num_tokens: int, **arguments: Any) -> int:
        """The most tokens that a stage of a method with `by_threshold` leaves, whatever the distances.

        Args:
            stage: its number, 1-based.
            num_tokens: those that enter it.
            **arguments: those of the constructor, as they were given, without `stage`.
        """
        return num_tokens

    @classmethod
    def possible_counts(cls, grid: tuple[int, int], **arguments: Any) -> Sequence[int] | None:
        """The only token counts that this method can leave, for one whose counts follow from the grid alone.

        It then keeps of each schedule the count nearest to what is asked for, and has an instance at every block of the
        schedule, those included that remove nothing at the default image size.

        Args:
            grid: rows and columns of the source patches.
            **arguments: those of the constructor, as they were given, without `stage`.

        Returns:
            Counts, ascending; None: any count from `least` on.
        """
        return None

    @abstractmethod
    def forward(self, view: TokenView, keep: int) -> Plan:
        """How to get from `view.x.shape[1]` tokens to `keep`, with 1 <= keep < N (for keep = N it is not called)."""

    def losses(self, plans: Sequence[Plan], *context: Any) -> dict[str, Tensor]:
        """Extra training losses by name; a method has ``losses(self, plans)`` or ``losses(self, plans, context)``.

        Args:
            plans: what this instance made in the latest forward.
            *context: the `LossContext`, what came of that forward, for a method that has the parameter `context`.

        Returns:
            Scalars; those of all instances are added up by name, and count as `loss_weights` says.
        """
        return {}

    def draw(self, shape: Sequence[int], like: Tensor, exponential: bool = False) -> Tensor:
        """Random numbers, or the `noise` that was put in their place.

        Args:
            shape: of the numbers.
            like: a tensor whose device and dtype they have.
            exponential: draw from the exponential distribution of mean 1, not evenly from [0, 1).

        Raises:
            ValueError: a `noise` of another shape.
        """
        if self.noise is None:
            drawn = torch.empty(tuple(shape), device=like.device, dtype=like.dtype)
            return drawn.exponential_() if exponential else drawn.uniform_()
        if tuple(self.noise.shape) != tuple(shape):
            raise ValueError(f"noise must be {list(shape)}, got {list(self.noise.shape)}")
        return self.noise.to(like.device, like.dtype)
