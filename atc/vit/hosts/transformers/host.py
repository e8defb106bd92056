"""The vision models of transformers, described for reduction."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from atc.vit import poolings
from atc.vit.host import HostOfParts, overridden
from atc.vit.hosts.transformers.heads import HEADS, Head
from atc.vit.hosts.transformers.parts import shown
from atc.vit.parts import first, look_up


class _Family(NamedTuple):
    prefix: Callable[[Any], int]  # of the configuration
    norm: str | None  # the norm after the last block, as last_hidden_state shows it


_FAMILIES = {
    "vit": _Family(lambda c: 1, "layernorm"),
    "deit": _Family(lambda c: 2, "layernorm"),
    "dinov2": _Family(lambda c: 1, "layernorm"),
    "dinov2_with_registers": _Family(lambda c: 1 + c.num_register_tokens, "layernorm"),
    "dinov3_vit": _Family(lambda c: 1 + c.num_register_tokens, "norm"),
    "clip": _Family(lambda c: 1, None),
    "siglip": _Family(lambda c: 0, "post_layernorm"),
    "vit_mae": _Family(lambda c: 1, "layernorm"),
}


_TRUNKS = ("vit", "deit", "dinov2", "dinov2_with_registers", "vision_model")
_BLOCKS = ("layers", "layer", "encoder.layer", "encoder.layers", "model.layer")
ATTENTIONS = ("sdpa", "eager")


class TransformersViT(HostOfParts):
    """A vision model of transformers, without its head (`trunk`) or with one.

    Args:
        model: the model to describe.

    Attributes:
        trunk: the module that holds embeddings, blocks and the final norm: the model itself or one in it.
        arguments: the names that the model's own forward takes, in order.
    """

    methods: ClassVar[frozenset[str]] = frozenset(
        {
            *("can_generate", "gradient_checkpointing_enable", "gradient_checkpointing_disable", "loss_function"),
            *("activation_checkpointing_enable", "activation_checkpointing_disable"),
            *("get_input_embeddings", "get_output_embeddings", "enable_input_require_grads", "num_parameters"),
            *("disable_input_require_grads", "set_attn_implementation", "get_memory_footprint", "add_model_tags"),
        }
    )
    module = "atc.vit.hosts.transformers.call.ReducedPretrained"

    def __init__(self, model: nn.Module):
        super().__init__(model)
        known: Any = next((cls for cls in type(model).__mro__ if cls.__name__ in HEADS and _is_theirs(cls)), None)
        self.known = known
        if known is None:
            return
        self.family = known.__module__.split(".")[2]
        self.trunk = self._trunk(self.model)
        self.config = self.trunk.config
        self.prefix = _FAMILIES[self.family].prefix(self.config)
        self.width = int(self.config.hidden_size)
        parameters = inspect.signature(known.forward).parameters.values()
        self.arguments = [p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]
        self._blocks = [shown(layer) for layer in look_up(self.trunk, str(first(self.trunk, *_BLOCKS)))]

    @classmethod
    @override
    def knows(cls, model: nn.Module) -> bool:
        return any(_is_theirs(base) for base in type(model).__mro__)

    @staticmethod
    def _trunk(model: Any) -> Any:
        while not hasattr(model, "embeddings"):
            model = look_up(model, str(first(model, *_TRUNKS)))
        return model

    @property
    @override
    def num_patches(self) -> int:
        return self.default_grid[0] * self.default_grid[1]

    @property
    @override
    def default_grid(self) -> tuple[int, int]:
        (height, width), (rows, columns) = _pair(self.config.image_size), _pair(self.config.patch_size)
        return height // rows, width // columns

    @override
    def recomputes(self) -> bool:
        return any(getattr(block.module, "gradient_checkpointing", False) for block in self._blocks)

    @override
    def skipped(self) -> list[tuple[str, nn.Module]]:
        inside = [("the trunk", self.trunk)] if self.trunk is not self.model else []
        encoder = [(path, getattr(self.trunk, path)) for path in ("encoder", "model") if hasattr(self.trunk, path)]
        return [*inside, *((f"its {path}", module) for path, module in encoder)]

    @override
    def refusal(self) -> str | None:
        name = type(self.model).__name__
        if self.known is None:
            return _unknown(self.model)
        if reason := overridden(self.model, ("forward",), self.known.__module__):
            return reason
        for number, block in enumerate(self._blocks, start=1):
            for part in (block.module, block.attn.module):
                if not type(part).__module__.startswith(f"transformers.models.{self.family}."):
                    return (
                        f"block {number} of this {name} has a {type(part).__name__}, which is not that of transformers"
                    )
        return self._unfit()

    def _unfit(self) -> str | None:
        """Why the model's settings do not allow reduction, if so."""
        implementation = self.config._attn_implementation
        if implementation not in ATTENTIONS:
            return (
                f"attn_implementation={implementation} takes no weights per token, which merged tokens need; "
                f'model.set_attn_implementation("sdpa")'
            )
        if self.family == "vit_mae" and self.config.mask_ratio:
            return (
                f"it masks {self.config.mask_ratio:.0%} of the patches at random before any reducer sees them; "
                f"model.config.mask_ratio = 0 lets it see all"
            )
        return None

    @override
    def grid(self, images: Tensor) -> tuple[int, int]:
        rows, columns = _pair(self.config.patch_size)
        return images.shape[-2] // rows, images.shape[-1] // columns

    def embed(  # type: ignore[override]  # names the options that there are
        self,
        images: Tensor,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As `Host.embed`, with what transformers' embeddings take.

        Args:
            images: ``[B, 3, H, W]``.
            bool_masked_pos: ``[B, N]`` patches that give way to the mask token.
            interpolate_pos_encoding: resample the positions for images of another size.

        Returns:
            Tokens ``[B, P+N, C]`` and rotary embeddings ``[N, 2D]`` or None.

        Raises:
            ValueError: no mask token, or settings that changed after wrapping and do not allow reduction.
        """
        if reason := self._unfit():
            raise ValueError(f"cannot run this wrapped {type(self.model).__name__}: {reason}")
        trunk = self.trunk
        options: dict[str, Any] = {}
        images = images.to(next(trunk.embeddings.parameters()).dtype)
        if bool_masked_pos is not None:
            if trunk.embeddings.mask_token is None:
                raise ValueError("bool_masked_pos= needs a mask token; build the model with use_mask_token=True")
            options["bool_masked_pos"] = bool_masked_pos
        if interpolate_pos_encoding:
            options["interpolate_pos_encoding"] = True
        if self.family == "vit_mae":  # it shuffles even what it keeps whole; this noise leaves patches in place
            rows, columns = self.grid(images)
            noise = torch.arange(rows * columns, device=images.device, dtype=torch.float32)
            return trunk.embeddings(images, noise=noise.expand(images.shape[0], -1), **options)[0], None
        x = trunk.embeddings(images, **options)
        if self.family == "clip":
            x = trunk.pre_layrnorm(x)
        if self.family == "dinov3_vit":
            cos, sin = trunk.rope_embeddings(images)
            return x, torch.cat([sin, cos], dim=-1)
        return x, None

    @override
    def norm(self, x: Tensor) -> Tensor:
        path = _FAMILIES[self.family].norm
        return x if path is None else getattr(self.trunk, path)(x)

    def pooled(self, x: Tensor, size: Tensor | None) -> Tensor | None:
        """What the model makes of all tokens, before any classifier.

        Args:
            x: ``[B, P+K, C]``, after `norm`.
            size: ``[B, K]`` weights of the patch tokens; None for equal ones.

        Returns:
            ``[B, C]``; None for models that pool nothing.
        """
        return self._head.pool(self.trunk, x, size, self.prefix)

    def classified(self, x: Tensor, pooled: Tensor | None) -> list[Tensor]:
        """The outputs of the model's classifiers, one of each; none for a model without.

        Args:
            x: ``[B, P+K, C]``, after `norm`.
            pooled: ``[B, C]``, of `pooled`.

        Returns:
            Of each ``[B, classes]``.
        """
        names = self._head.classifiers
        if len(names) == 1:
            return [getattr(self.model, names[0])(pooled)]
        return [getattr(self.model, name)(x[:, place]) for place, name in enumerate(names)]

    @override
    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        pooled = self.pooled(x, size)
        found = [] if pre_logits else self.classified(x, pooled)
        if found:
            return sum(found[1:], found[0]) / len(found)
        if pooled is not None:
            return pooled
        return x[:, 0] if self.prefix else poolings.mean(x, size)

    @property
    def _head(self) -> Head:
        return HEADS[self.known.__name__]


def _is_theirs(cls: type) -> bool:
    return cls.__module__.startswith("transformers.")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _unknown(model: nn.Module) -> str:
    name = type(model).__name__
    for tower in ("vision_model", "vit", "deit", "timm_model"):
        if tower == "timm_model" and hasattr(model, tower):
            return f"{name} keeps a timm model; wrap model.timm_model"
        if type(getattr(model, tower, None)).__name__ in HEADS:
            return f"{name} is more than a vision model; wrap the one in it: model.{tower} = atc.wrap(model.{tower})"
    for module in model.modules():
        if "RelativePosition" in type(module).__name__ or hasattr(module, "relative_position_bias_table"):
            return f"{name} adds relative-position biases between fixed places, which merged tokens do not have"
    return f"{name} is not among the models of transformers that can be wrapped: {', '.join(HEADS)}"
