"""Wrapped image towers of open_clip, called as the library calls them."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from atc.vit import intermediates
from atc.vit.reduced import ReducedViT


class ReducedTower(ReducedViT):
    """A `ReducedViT` that returns what a tower of open_clip returns: with `output_tokens` tokens too."""

    def forward(self, images: Tensor) -> Any:
        """Run the tower with its tokens reduced; sets `trace`.

        Args:
            images: ``[B, 3, H, W]``.

        Returns:
            Features ``[B, C]``; where the tower has output_tokens=True, a pair with the tokens that are left
            ``[B, K, C]``, or those of its pooling by attention.
        """
        if not getattr(self, "output_tokens", False):
            return super().forward(images)
        stream = self._through(images)
        x = stream.features()
        host: Any = self.host
        pooled, tokens = host.pooled(*self.pooling(x, stream.size if stream.reductions.made else None, stream.valid))
        features = host.projected(pooled)
        self.note(stream, x, features)
        return features, tokens

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        stop_early: bool = False,
        normalize_intermediates: bool = False,
        intermediates_only: bool = False,
        output_fmt: str = "NCHW",
        output_extra_tokens: bool = False,
        expand: bool = True,
    ) -> dict[str, Any]:
        """Run images through the blocks and return the tokens after several of them.

        Parameters and return values are those of open_clip's towers, but for `expand`.

        Args:
            x: images ``[B, 3, H, W]``.
            indices: 0-based blocks: the last n for an integer, all for None.
            stop_early: run no block after the last one asked for.
            normalize_intermediates: apply the final norm to each of them.
            intermediates_only: leave out `image_features`.
            output_fmt: "NCHW" for feature maps ``[B, C, rows, columns]``, "NLC" for tokens ``[B, N0, C]``.
            output_extra_tokens: return prefix tokens as `image_intermediates_prefix`.
            expand: give every patch of the full grid the value of its token, as in
                `atc.vit.intermediates.forward_intermediates`.

        Returns:
            `image_intermediates`, a list; `image_features` ``[B, C]``; `image_intermediates_prefix`.

        Raises:
            ValueError: an unknown `output_fmt`, or "NCHW" without `expand` where tokens were reduced.
        """
        host: Any = self.host
        norm = host.norm_of_intermediates if normalize_intermediates else None
        stream, patches, prefixes = intermediates.collect(self, x, indices, stop_early, norm, output_fmt, expand)
        found: dict[str, Any] = {"image_intermediates": patches}
        if output_extra_tokens and self.prefix:
            found["image_intermediates_prefix"] = prefixes
        if not intermediates_only:
            sizes = stream.size if stream.reductions.made else None
            found["image_features"] = self.pooled(stream.features(), sizes, stream.valid)
        return found
