"""Semantic segmentation with a linear head on a ViT whose tokens are reduced.

Letters: B batch, C channels of a token, K classes, N patches.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from atc.dense.around_vit import AroundViT
from atc.dense.windows import windows
from atc.values import Count, checked
from atc.vit.reduced import ReducedViT

# Parts of a ViT behind its last map of features, which are not run and so are not trained: a strategy with several
# processes would wait for their gradients.
_BEHIND = ("fc_norm", "attn_pool", "head", "head_dist", "heads", "classifier", "pooler")


class LinearHead(nn.Module):
    """Batch norm and a 1x1 convolution: maps ``[B, C, h, w]`` -> logits ``[B, K, h, w]``.

    Args:
        channels: C.
        num_classes: K.
    """

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        nn.init.normal_(self.classifier.weight, std=0.01)
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)

    @override
    def forward(self, maps: Tensor) -> Tensor:
        return self.classifier(self.norm(maps))


class Segmenter(AroundViT):
    """A label for each pixel, from the last features of a wrapped ViT on the full grid of patches.

    After the last block and the final norm, every patch has the features of the token that holds it, a pruned one
    those that it left with; a `LinearHead` on that map gives logits, which are interpolated to pixels.

    In evaluation mode an image of any size is seen through square windows, that overlap; where several see a pixel,
    their logits are averaged. An image that is smaller than a window is filled up with zeros at the right and at the
    bottom. In training mode an image is at most as large as one window.

    Args:
        backbone: the wrapped ViT.
        num_classes: K, with the background where it is a class.
        window: pixels per side that the backbone sees at a time.
        stride: pixels from one window to the next; None: two thirds of a window, as is usual.
        frozen: do not train the backbone, which then stays in evaluation mode.
        head: of another segmenter, to be shared; None: a new one.

    Attributes:
        window, stride: as above.
        looked_at: what the backbone saw last, and `trace` is of, ``[B, 3, window, window]``; None in training.
        new: beginnings of the names of what is trained at the full rate.

    Raises:
        ValueError: the backbone cannot see windows of this size, or the stride leaves gaps.

    Examples:
        >>> import timm, atc
        >>> vit = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=0)
        >>> model = Segmenter(atc.wrap(vit, "atc_average", keep_rate=0.5), num_classes=21, window=64).eval()
        >>> list(model(torch.rand(1, 3, 80, 100)).shape)
        [1, 21, 80, 100]
    """

    new = ("linear_head.", "backbone.reducers.")
    replayable = False  # as a CUDA graph: images differ in size

    @checked
    def __init__(
        self,
        backbone: nn.Module,
        num_classes: Count,
        window: Count,
        stride: Count | None = None,
        *,
        frozen: bool = False,
        head: nn.Module | None = None,
    ):
        super().__init__()
        if not isinstance(backbone, ReducedViT):
            raise ValueError(
                f"a Segmenter needs a wrapped ViT, as atc.wrap(vit, 'none') returns it, and got a "
                f"{type(backbone).__name__}"
            )
        self.backbone: ReducedViT = backbone
        self.window, self.stride = window, max(1, 2 * window // 3) if stride is None else stride
        if self.stride > self.window:
            raise ValueError(f"task.stride={self.stride} leaves gaps between windows of task.window={self.window}")
        self._check_window()
        self.linear_head = LinearHead(backbone.host.width, num_classes) if head is None else head
        self.frozen = frozen
        for name, parameter in backbone.named_parameters():
            if frozen or name.split(".")[0] in _BEHIND or name.endswith("mask_token"):
                parameter.requires_grad_(False)
        self.looked_at: Tensor | None = None
        self.train(backbone.training)

    def _check_window(self) -> None:
        host, side = self.backbone.host, self.window
        like = next(self.backbone.parameters())
        try:
            with torch.no_grad():
                tokens, _ = host.embed(like.new_zeros(1, 3, side, side))
                rows, columns = host.grid(like.new_zeros(1, 3, side, side))
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"task.window={side}: this {host.name} cannot see images of {side} x {side} pixels ({said}); "
                f"backbone.img_size={side} builds it for them"
            ) from error
        if tokens.shape[1] - host.prefix != rows * columns:
            raise ValueError(f"this {host.name} has no grid of patches, which a map of labels needs")

    @override
    def train(self, mode: bool = True) -> "Segmenter":
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    @override
    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> logits ``[B, K, H, W]``, of the head's type; sets `trace`.

        Raises:
            ValueError: in training mode, images that are larger than a window.
        """
        height, width = images.shape[-2:]
        if self.training and max(height, width) > self.window:
            raise ValueError(
                f"images of {height} x {width} pixels to train on are larger than task.window={self.window}: "
                f"datamodule.transforms.crop={self.window}, or a backbone.img_size of {max(height, width)}"
            )
        total: Tensor | None = None
        for rows, columns in windows((height, width), self.window, self.stride):
            logits = self._look(images[..., rows, columns])
            if logits.shape[-2:] == (height, width):
                return logits
            if total is None:
                total = logits.new_zeros(len(images), logits.shape[1] + 1, height, width)
            total[:, :-1, rows, columns] += logits
            total[:, -1, rows, columns] += 1  # how many windows saw the pixel
        assert total is not None
        return total[:, :-1] / total[:, -1:]

    def _look(self, part: Tensor) -> Tensor:
        """The logits of one window."""
        side, (height, width) = self.window, part.shape[-2:]
        filled = F.pad(part, (0, side - width, 0, side - height))
        self.looked_at = None if self.training else filled
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            (maps,) = self.backbone.forward_intermediates(filled, indices=1, norm=True, intermediates_only=True)
        logits = F.interpolate(self.linear_head(maps).float(), (side, side), mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    @property
    @override
    def reduced(self) -> ReducedViT:
        return self.backbone

    def tokens_per_block(self) -> list[float]:
        """Patch tokens entering each block for a window."""
        return self.backbone.tokens_per_block()
