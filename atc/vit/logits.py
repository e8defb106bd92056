"""Models of other libraries as the harness takes them: images in, logits out, with the attributes of timm's."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from atc.vit.hooks import modules_of
from atc.vit.host import Host, host_of
from atc.vit.parts import look_up

# Places and marks of tokens are not to decay, as in timm's `no_weight_decay`.
_SPARED = re.compile(r"(position|pos_embed|(cls|class|mask|distillation|register)_?(token|embedding))")
_EMBEDDING = re.compile(r"(embeddings\.|conv_proj|conv1|^class_|pos_embedding|positional_embedding)")


class Logits(nn.Module):
    """A model under its own parameter names, called with images ``[B, 3, H, W]``, returning ``[B, classes]``.

    Args:
        model: of a family that can be wrapped, not changed but for its classifier.
        data: what timm calls a pretrained_cfg: `input_size`, `mean`, `std`, and whatever else is known.
        classifier: dotted path of the model's own classifier; None for a model without, which gets a new linear layer
            of the name `classifier` on what it returns.
        num_classes: of the classifier; None keeps the model's own; 0 leaves it out, so that features are returned,
            as None does for a model without.

    Attributes:
        model: the model inside.
        host: what is known of it.
        new: names, or beginnings of names, of what fine-tuning treats as new: classifier, positions, patch embedding.

    Raises:
        ValueError: the model cannot be wrapped.
    """

    model: Any  # an nn.Module with the methods of its library

    def __init__(self, model: nn.Module, data: Mapping[str, Any], classifier: str | None, num_classes: int | None):
        super().__init__()
        self.__dict__["model"] = model
        self.__dict__["_parameters"], self.__dict__["_buffers"] = model._parameters, model._buffers
        self.__dict__["_non_persistent_buffers_set"] = model._non_persistent_buffers_set
        self.__dict__["_modules"] = OrderedDict(model._modules)
        self.training = model.training
        self.host: Host = host_of(model)
        self.pretrained_cfg = dict(data)
        self._path, self.num_classes, self._inputs = classifier, 0, 0
        if classifier is not None:
            own: Any = look_up(model, classifier)
            self.num_classes, self._inputs = int(own.out_features), int(own.in_features)
        else:
            num_classes = num_classes or 0
        if num_classes is not None and (num_classes != self.num_classes or classifier is None):
            self.reset_classifier(num_classes)

    @property
    def adds_classifier(self) -> bool:
        """Whether the classifier is not the model's own."""
        return self._path is None

    @property
    def default_cfg(self) -> dict[str, Any]:
        """As timm calls `pretrained_cfg` too."""
        return self.pretrained_cfg

    @property
    def new(self) -> tuple[str, ...]:
        """Names, or their beginnings, of what fine-tuning treats as new."""
        embedding = [name for name, _ in self.named_parameters() if _EMBEDDING.search(name)]
        return (f"{self._path or 'classifier'}.", *embedding)

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> logits ``[B, classes]``."""
        found = self.features(images)
        return found if self._path is not None else self.classifier(found)

    def features(self, images: Tensor) -> Tensor:
        """What the model itself makes of images: ``[B, C]``, or its own logits."""
        out = self.model(images)
        if isinstance(out, Tensor):
            return out
        for name in ("logits", "image_embeds", "pooler_output"):
            if out.get(name) is not None:
                return out[name]
        return self.host.head(out["last_hidden_state"], None)

    def get_classifier(self) -> nn.Module:
        """The classifier: the model's own, or the one on what it returns."""
        return self.classifier if self._path is None else look_up(self.model, self._path)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a new one.

        Args:
            num_classes: that it tells apart; 0 leaves it out.
        """
        like = next(p for p in self.parameters() if p.is_floating_point())
        width = self._inputs if self._path is not None or not num_classes else self._width(like)
        layer = nn.Linear(width, num_classes) if num_classes else nn.Identity()
        layer.to(like.device, like.dtype)
        if self._path is None:
            self.classifier = layer
        else:
            parent, _, name = self._path.rpartition(".")
            setattr(look_up(self.model, parent) if parent else self.model, name, layer)
            if not parent:
                self._modules[name] = layer
            if hasattr(self.model, "num_labels"):
                self.model.num_labels = self.model.config.num_labels = num_classes
        self.num_classes = num_classes

    @torch.no_grad()
    def _width(self, like: Tensor) -> int:
        training = self.training
        images = torch.zeros(1, *self.pretrained_cfg["input_size"], device=like.device, dtype=like.dtype)
        width = self.eval().features(images).shape[-1]
        self.train(training)
        return width

    def train(self, mode: bool = True) -> "Logits":
        """As `nn.Module.train`; the model's own switch follows."""
        super().train(mode)
        self.model.training = mode
        return self

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that do not decay: places and marks of tokens."""
        return {name for name, _ in self.named_parameters() if _SPARED.search(name)}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers of parameters in the form of timm's `group_matcher`: embedding, blocks, the rest."""
        (first,) = (name for name, module in self.named_modules() if module is modules_of(self.host.blocks[0])[0])
        stem = "|".join(re.escape(name) for name, _ in self.named_parameters() if _EMBEDDING.search(name))
        beginning = re.escape(first.rstrip("0123456789"))
        return {"stem": f"^(?:{stem})$", "blocks": [(rf"^{beginning}(\d+)", None)]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations again in the backward pass, where the library offers that.

        Raises:
            ValueError: it does not.
        """
        for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable"):
            if hasattr(self.model, name):
                getattr(self.model, name if enable else name.replace("enable", "disable"))()
                return
        if not hasattr(self.model, "set_grad_checkpointing"):
            raise ValueError(f"activation_checkpointing: {type(self.model).__name__} cannot compute activations again")
        self.model.set_grad_checkpointing(enable)
