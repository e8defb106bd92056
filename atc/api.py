"""The library without the harness: wrap a ViT, run it, unwrap it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from atc.config import build
from atc.core import Constant, Linear, Reducer, Schedule, Stages, check_plans
from atc.values import Blocks, KeepRates, Thresholds, Whole, checked
from atc.vit.counting import check_threshold
from atc.vit.reduced import ReducedViT, reducer_class

__all__ = ["ReducedViT", "check_plans", "unwrap", "wrap"]


@checked
def wrap(
    vit: nn.Module,
    reducer: str | type[Reducer] = "atc_average",
    keep_rate: KeepRates | None = None,
    blocks: Blocks = (4, 7, 10),
    *,
    threshold: Thresholds | None = None,
    schedule: str | Schedule = "stages",
    t: Whole | None = None,
    proportional_attention: bool | None = None,
    size_weighted: bool | None = None,
    as_released: bool = False,
    clamp: bool = False,
    reducer_args: Mapping[str, Any] | None = None,
) -> ReducedViT:
    """A model that runs `vit` with its tokens reduced on the way. `vit` itself is not changed, nor copied.

    Args:
        vit: a model of timm, transformers, torchvision or open_clip; docs/hosts.md lists which.
        reducer: a name in conf/reducer/ ("atc_average", "tome", "topk", ...), of an installed package's method,
            or a Reducer class.
        keep_rate: for schedule "stages": share of the source patches kept per stage, in (0, 1]; or a list of the share
            that each stage keeps of what the stage before kept.
        blocks: for schedule "stages": the reducing blocks, 1-based.
        threshold: for methods that merge up to a distance ("atc_average_dynamic", ...), in place of a keep rate: that
            distance, or a list of one for each stage. `python -m atc.calibrate` finds it for a keep rate.
        schedule: "stages", "constant" or "linear", or a Schedule.
        t: for schedules "constant" and "linear": tokens removed per block (on average), at every block.
        proportional_attention: add log(size) to attention logits; None does what the method's paper states.
        size_weighted: weigh means and poolings by size; None does what the method's paper states.
        as_released: compute as the authors' code does where that departs from the papers; handed to the reducer
            and the schedule where they have the switch.
        clamp: keep as many tokens as a method must where it cannot reach the count asked for, instead of raising.
        reducer_args: constructor arguments of the reducer, such as `{"equal_weight": True}` for "dpc_knn".

    Returns:
        The model, called as `vit` is; after a forward `trace` says what became of the tokens.

    Raises:
        ValueError: a backbone that cannot be wrapped, an unknown name or a count out of reach; one line.

    Examples:
        >>> import timm, torch
        >>> vit = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4, num_classes=10).eval()
        >>> model = wrap(vit, "atc_average", keep_rate=0.5, blocks=(2, 3))
        >>> model(torch.rand(1, 3, 64, 64)).shape
        torch.Size([1, 10])
        >>> model.trace.tokens()
        [8, 4]
    """
    factory = build.find_reducer(reducer)
    switches = {"as_released": as_released} if build.accepts(factory, "as_released") else {}
    factory = build.bind(factory, **{**switches, **(reducer_args or {})})
    if not reducer_class(factory).reduces and keep_rate is None and t is None and threshold is None:
        schedule, keep_rate = "stages", 1.0  # the dense baseline needs no schedule
    if not isinstance(schedule, Schedule):
        if threshold is not None:
            _check_alone(threshold, schedule, keep_rate, t)
            schedule = Stages(None, blocks, threshold=threshold, as_released=as_released, clamp=clamp)
        else:
            check_threshold(reducer_class(factory), None)
            schedule = _schedule(schedule, keep_rate, blocks, t, as_released, clamp)
    elif threshold is not None:
        raise ValueError(f"threshold={threshold} makes a schedule of its own: leave out schedule, or use its threshold")
    return ReducedViT(vit, factory, schedule, proportional_attention, size_weighted)


def _check_alone(threshold: Any, schedule: str, keep_rate: Any, t: int | None) -> None:
    """ValueError for a threshold beside what else says how many tokens are kept."""
    other = f"keep_rate={keep_rate}" if keep_rate is not None else f"t={t}" if t is not None else None
    if other is not None:
        raise ValueError(f"give either threshold or {other.partition('=')[0]}, got threshold={threshold} and {other}")
    if schedule != "stages":
        raise ValueError(f'threshold={threshold} is for schedule="stages", not for schedule="{schedule}"')


def _schedule(
    name: str,
    keep_rate: float | Sequence[float] | None,
    blocks: Sequence[int],
    t: int | None,
    as_released: bool,
    clamp: bool,
) -> Schedule:
    if name == "stages":
        if t is not None:
            raise ValueError(f't={t} is for schedule="constant" and "linear"; schedule="stages" takes a keep_rate')
        if keep_rate is None:
            raise ValueError('schedule="stages" needs a keep_rate in (0, 1], such as keep_rate=0.5')
        return Stages(keep_rate, blocks, as_released=as_released, clamp=clamp)
    every_block = {"constant": Constant, "linear": Linear}
    if name not in every_block:
        options = ["stages", *every_block]
        raise ValueError(f"unknown schedule '{name}': {build.nearest(name, options)}")
    if keep_rate is not None:
        raise ValueError(f'keep_rate={keep_rate} is for schedule="stages"; schedule="{name}" takes t')
    if t is None:
        raise ValueError(f'schedule="{name}" needs t, the tokens removed per block, such as t=8')
    return every_block[name](t, as_released=as_released, clamp=clamp)


def unwrap(model: ReducedViT) -> nn.Module:
    """The model inside, untouched.

    Args:
        model: what `wrap` returned.

    Raises:
        TypeError: anything else.

    Examples:
        >>> import timm
        >>> vit = timm.create_model("vit_tiny_patch16_224", depth=2)
        >>> unwrap(wrap(vit, "tome", schedule="constant", t=8)) is vit
        True
    """
    if not isinstance(model, ReducedViT):
        raise TypeError(f"unwrap takes what atc.wrap returned, not a {type(model).__name__}")
    return model.host.model
