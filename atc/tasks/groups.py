"""Which parameters learn at which rate, and which of them decay."""

from typing import Any

from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer

# What fine-tuning DeiT treats as new, and trains at the full rate from the first update.
_NEW = ("head.", "head_dist.", "pos_embed", "patch_embed.", "reducers.")


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    layer_decay: float | None = None,
    backbone_lr_scale: float | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups of a model, for a torch optimiser; the first of them learns at the full rate.

    Args:
        model: the model, wrapped or not.
        lr: the full rate.
        weight_decay: not for vectors, nor for what the backbone names (positions, CLS).
        layer_decay: the rate of block i of L (1-based) times layer_decay ** (L + 1 - i), as in fine-tuning MAE (arXiv
            2111.06377, after BEiT). Positions, CLS and patch embedding count as block 0; heads, reducers and fc_norm
            learn at the full rate. (timm gives a final norm before the pooling a layer of its own.)
        backbone_lr_scale: instead, of everything but heads, positions, patch embedding and reducers. These groups carry
            "backbone": True, and a "lr" of their own: a schedule ends at the same rate for all, as in the DeiT recipe
            of the authors' code.

    Raises:
        ValueError: both are given, or layer_decay for a model around a backbone.
    """
    host = getattr(model, "host", None) if hasattr(model, "reducers") else None
    vit: Any = model if host is None else host.model
    spared: set[str] = getattr(vit, "no_weight_decay", set)()
    new = (*getattr(model, "new", getattr(vit, "new", _NEW)), "reducers.")
    if layer_decay is None:
        return _new_and_backbone(
            model, lr, weight_decay, {*spared}, 1.0 if backbone_lr_scale is None else backbone_lr_scale, new
        )
    if backbone_lr_scale not in (None, 1):
        raise ValueError(f"either layer_decay={layer_decay} or backbone_lr_scale={backbone_lr_scale}, not both")
    groups = param_groups_layer_decay(vit, weight_decay, spared, layer_decay=layer_decay)[::-1]
    reducers = getattr(model, "reducers", None)
    if hasattr(model, "backbone"):
        raise ValueError(
            f"optimizer.layer_decay={layer_decay} is for classifiers: optimizer.backbone_lr_scale sets one rate for "
            f"all blocks"
        )
    return groups if reducers is None else groups + param_groups_weight_decay(reducers, weight_decay)


def _new_and_backbone(
    model: nn.Module, lr: float, weight_decay: float, spared: set[str], scale: float, new_names: tuple[str, ...]
) -> list[dict[str, Any]]:
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith(".bias") and name.removeprefix("backbone.") not in spared
            parts.setdefault((name.startswith(new_names), decays), []).append(parameter)
    return [
        {
            "params": parts[new, decays],
            "weight_decay": weight_decay if decays else 0.0,
            "lr": lr if new else lr * scale,
            "backbone": not new,
        }
        for new, decays in sorted(parts, reverse=True)
    ]


class Freeze:
    """A schedule of timm's that holds the groups marked "backbone" at rate 0 in the beginning.

    Their moments are gathered all the while, as in the authors' code: only the weights do not change.

    Args:
        scheduler: timm's.
        updates: how many it holds them for.
    """

    def __init__(self, scheduler: Any, updates: int):
        self.scheduler, self.updates = scheduler, updates
        self._hold(0)

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser whose rates are set."""
        return self.scheduler.optimizer

    def step_update(self, num_updates: int) -> None:
        """Set the rates for update number `num_updates`, counted from 0."""
        self.scheduler.step_update(num_updates)
        self._hold(num_updates)

    def _hold(self, num_updates: int) -> None:
        for group in self.optimizer.param_groups:
            if group.get("backbone") and num_updates < self.updates:
                group["lr"] = 0.0

    def state_dict(self) -> dict[str, Any]:
        """That of the schedule inside."""
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """That of the schedule inside."""
        self.scheduler.load_state_dict(state)
