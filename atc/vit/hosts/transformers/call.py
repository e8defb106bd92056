"""Wrapped models of Hugging Face transformers, called as the library calls them."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from atc.vit.reduced import ReducedViT
from atc.vit.stream import Stream

if TYPE_CHECKING:
    from atc.vit.hosts.transformers.host import TransformersViT

log = logging.getLogger(__name__)

_OF_THE_CALL = ("output_hidden_states", "output_attentions", "return_dict", "num_items_in_batch")
_NOT_TAKEN = {
    "attention_mask": "hides places, which merged tokens do not have",
    "head_mask": "is not applied",
    "noise": "would shuffle the patches, whose places ATC keeps track of",
}


class ReducedPretrained(ReducedViT):
    """A `ReducedViT` that takes what a model of transformers takes, and returns that model's own output class."""

    host: "TransformersViT"

    def forward(  # type: ignore[override]  # the signature of transformers, which its Trainer reads
        self,
        pixel_values: Tensor | None = None,
        *args: Any,
        labels: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        **options: Any,
    ) -> Any:
        """Run the model with its tokens reduced; sets `trace`.

        Args:
            pixel_values: images ``[B, 3, H, W]``.
            *args: further arguments in the order of the model's own forward.
            labels: ``[B]`` for the loss, where the model computes one.
            bool_masked_pos: ``[B, N]`` patches that give way to the mask token, where the model takes it.
            interpolate_pos_encoding: resample positions for images of another size, where the model takes it.
            **options: `output_hidden_states`, `output_attentions`, `return_dict`, `num_items_in_batch`.

        Returns:
            The output class of the model; `last_hidden_state` has the tokens that are left, ``[B, P+K, C]``. With
            return_dict=False a tuple.

        Raises:
            TypeError: an argument that the model does not take.
            ValueError: no images, or an argument that cannot be honoured.
        """
        options |= {"labels": labels, "bool_masked_pos": bool_masked_pos}
        options["interpolate_pos_encoding"] = interpolate_pos_encoding
        given = self._given(args, options)
        if pixel_values is None:
            raise ValueError("pixel_values= is missing: images [B, 3, H, W]")
        config = self.host.config
        hidden = _flag(given, config, "output_hidden_states")
        attentions = _flag(given, config, "output_attentions")
        if attentions and config._attn_implementation != "eager":
            raise ValueError(
                f"output_attentions=True needs the attention whose weights can be seen, not "
                f'{config._attn_implementation}; model.set_attn_implementation("eager")'
            )
        embedding: dict[str, Any] = {
            key: given[key] for key in ("bool_masked_pos", "interpolate_pos_encoding") if key in given
        }
        seen = frozenset({"attn"}) if attentions else frozenset()
        stream = Stream(self, pixel_values, options=embedding, also=seen)
        states, weights = [stream.x], []
        for number in range(1, self.depth + 1):
            stream.step(number)
            states.append(stream.x)
            weights.append(stream.seen.attn)
        self.note(stream)
        found = {
            "hidden_states": tuple(states) if hidden else None,
            "attentions": tuple(weights) if attentions else None,
        }
        output = self._output(stream, given, found)
        whole = given.get("return_dict", getattr(self.host.model.config, "return_dict", True))
        return output if whole else output.to_tuple()

    def save_pretrained(self, directory: str | Path, **options: Any) -> Any:
        """Write the model as transformers does: weights that its plain class reloads.

        Args:
            directory: where.
            **options: those of transformers' `save_pretrained`.

        Returns:
            What that returns.
        """
        learned = sum(parameter.numel() for parameter in self.reducers.parameters())
        if learned:
            log.warning(
                "save_pretrained writes the plain %s; the %s numbers that its reducers learned are not among them: "
                "torch.save(model.state_dict(), FILE) keeps all",
                type(self.host.model).__name__,
                f"{learned:,}",
            )
        options.pop("state_dict", None)  # the wrapper's, with the parameters of reducers
        return self.host.model.save_pretrained(directory, **options)

    def _given(self, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name; those that are None are left out."""
        names, model = self.host.arguments, type(self.host.model).__name__
        if len(args) >= len(names):
            raise TypeError(f"{model} takes {len(names)} arguments by position, not {len(args) + 1}")
        given = {key: value for key, value in options.items() if value is not None}
        for name, value in zip(names[1:], args, strict=False):
            if name in given:
                raise TypeError(f"{model} is given {name} twice")
            if value is not None:
                given[name] = value
        for name in given:
            if name in _NOT_TAKEN:
                raise ValueError(f"{name}= {_NOT_TAKEN[name]}; leave it out, or run atc.unwrap(model)")
            if name not in names and name not in _OF_THE_CALL:
                raise TypeError(f"{model} takes no argument {name}; it takes {', '.join([*names, *_OF_THE_CALL])}")
        return given

    def _output(self, stream: Stream, given: dict[str, Any], found: dict[str, Any]) -> Any:
        host = self.host
        x = stream.features()
        pool, size = self.pooling(x, stream.size if stream.reductions.made else None, stream.valid)
        pooled = host.pooled(pool, size)
        classified = host.classified(pool, pooled)
        name, modules = host.known.__name__, sys.modules
        own, shared = modules[host.known.__module__], modules["transformers.modeling_outputs"]
        if name == "ViTMAEModel":
            mask = x.new_zeros(stream.source.shape)
            order = stream.source.new_tensor(range(mask.shape[1])).expand(mask.shape[0], -1)
            return own.ViTMAEModelOutput(last_hidden_state=x, mask=mask, ids_restore=order, **found)
        if name == "CLIPVisionModelWithProjection":
            return own.CLIPVisionModelOutput(image_embeds=classified[0], last_hidden_state=x, **found)
        if not classified:
            return shared.BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=pooled, **found)
        logits = host.head(pool, size)
        self.note(stream, x, logits)
        if len(classified) == 2:
            heads = {"cls_logits": classified[0], "distillation_logits": classified[1]}
            return own.DeiTForImageClassificationWithTeacherOutput(logits=logits, **heads, **found)
        loss = None
        if "labels" in given:
            items = {} if host.family in ("clip", "siglip") else {"num_items_in_batch": given.get("num_items_in_batch")}
            items = {key: value for key, value in items.items() if value is not None}
            loss = host.model.loss_function(given["labels"], logits, host.model.config, **items)
        return shared.ImageClassifierOutput(loss=loss, logits=logits, **found)


def _flag(given: dict[str, Any], config: Any, name: str) -> bool:
    value = given.get(name, getattr(config, name, False))
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value} must be true or false")
    return value
