"""Feature maps of a reduced model on the full grid of patches, in the form of timm's `forward_intermediates`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from timm.models._features import feature_take_indices
from torch import Tensor

from atc.vit.stream import Stream

if TYPE_CHECKING:
    from atc.vit.reduced import ReducedViT


def forward_intermediates(
    model: "ReducedViT",
    x: Tensor,
    indices: int | Sequence[int] | None = None,
    return_prefix_tokens: bool = False,
    norm: bool = False,
    stop_early: bool = False,
    output_fmt: str = "NCHW",
    intermediates_only: bool = False,
    output_dict: bool = False,
    expand: bool = True,
) -> Any:
    """Run images through the blocks and return the tokens after several of them.

    Parameters and return values are those of timm's `VisionTransformer.forward_intermediates`, but for `expand`.

    Args:
        model: the wrapped model.
        x: images ``[B, 3, H, W]``.
        indices: 0-based blocks: the last n for an integer, all for None.
        return_prefix_tokens: return prefix tokens ``[B, P, C]`` beside each feature map.
        norm: apply the final norm to each of them.
        stop_early: run no block after the last one asked for.
        output_fmt: "NCHW" for feature maps ``[B, C, rows, columns]``, "NLC" for tokens ``[B, N0, C]``.
        intermediates_only: leave out the final features.
        output_dict: return a dictionary with `image_features`, `image_intermediates`, `image_intermediates_prefix`.
        expand: give every patch of the full grid the value of the token that holds it, and a pruned patch the last
            value it had; False returns the tokens that are left, ``[B, K, C]``, which takes output_fmt="NLC".

    Returns:
        ``(features, intermediates)`` or as the arguments say. The final features are the tokens that are left,
        ``[B, P+K, C]``, after the norm.

    Raises:
        ValueError: an unknown `output_fmt`, or "NCHW" without `expand` where tokens were reduced.
    """
    stream, patches, prefixes = collect(
        model, x, indices, stop_early, model.host.norm if norm else None, output_fmt, expand
    )
    with_prefix = return_prefix_tokens and stream.prefix > 0
    if output_dict:
        found: dict[str, Any] = {"image_intermediates": patches}
        if with_prefix:
            found["image_intermediates_prefix"] = prefixes
        if not intermediates_only:
            found["image_features"] = stream.features()
        return found
    result: list[Any] = list(zip(patches, prefixes, strict=True)) if with_prefix else list(patches)
    return result if intermediates_only else (stream.features(), result)


def collect(
    model: "ReducedViT",
    x: Tensor,
    indices: int | Sequence[int] | None,
    stop_early: bool,
    norm: Callable[[Tensor], Tensor] | None,
    output_fmt: str,
    expand: bool,
) -> tuple[Stream, list[Tensor], list[Tensor]]:
    """Run images through the blocks, and keep the tokens after several of them.

    Args:
        model: the wrapped model.
        x: images ``[B, 3, H, W]``.
        indices: as in `forward_intermediates`.
        stop_early: as there.
        norm: what to apply to each of them.
        output_fmt: as there.
        expand: as there.

    Returns:
        The stream after the last block that was run, patches of each block, and prefix tokens of each.

    Raises:
        ValueError: as in `forward_intermediates`.
    """
    if output_fmt not in ("NCHW", "NLC"):
        raise ValueError(f"output_fmt={output_fmt} is neither 'NCHW' nor 'NLC'")
    take, last = feature_take_indices(
        model.depth, indices if isinstance(indices, int) or indices is None else list(indices)
    )
    stream = Stream(model, x, keep_pruned=expand)
    patches: list[Tensor] = []
    prefixes: list[Tensor] = []
    for index in range(last + 1 if stop_early else model.depth):
        stream.step(index + 1)
        if index in take:
            tokens = stream.expanded() if expand else stream.x[:, stream.prefix :]
            patches.append(tokens if norm is None else norm(tokens))
            prefix = stream.x[:, : stream.prefix]
            prefixes.append(prefix if norm is None else norm(prefix))
    if model.training and model.losses_ask:  # which may be of the final features; there are no logits
        features = stream.features()
        model.note(stream, features, features.new_zeros(len(features), 0))
    else:
        model.note(stream)
    if output_fmt == "NCHW":
        patches = [_map(tokens, stream.grid) for tokens in patches]
    return stream, patches, prefixes


def get_intermediate_layers(
    model: "ReducedViT",
    x: Tensor,
    n: int | Sequence[int] = 1,
    reshape: bool = False,
    return_prefix_tokens: bool = False,
    norm: bool = False,
    expand: bool = True,
) -> Any:
    """The features of the last n blocks, or of the 0-based blocks n, in the form of DINO's function of this name.

    Args:
        model: the wrapped model.
        x: images ``[B, 3, H, W]``.
        n: how many, or which.
        reshape: return maps ``[B, C, rows, columns]``.
        return_prefix_tokens: return prefix tokens beside each.
        norm: apply the final norm.
        expand: as in `forward_intermediates`.

    Returns:
        A list of features, or of pairs with prefix tokens.
    """
    return forward_intermediates(
        model,
        x,
        n,
        return_prefix_tokens=return_prefix_tokens,
        norm=norm,
        output_fmt="NCHW" if reshape else "NLC",
        intermediates_only=True,
        expand=expand,
    )


def _map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    if tokens.shape[1] != grid[0] * grid[1]:
        raise ValueError(
            f"{tokens.shape[1]} tokens are no map of {grid[0]} x {grid[1]} patches: expand=True gives every patch its "
            f"token's value, output_fmt='NLC' the tokens that are left"
        )
    return tokens.reshape(tokens.shape[0], *grid, -1).permute(0, 3, 1, 2).contiguous()
