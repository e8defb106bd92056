"""ViT-Adapter (arXiv 2205.08534) around a ViT whose tokens are reduced: four feature maps for dense tasks.

Letters: B batch, N patches, K tokens left, C channels; the maps lie at strides 4, 8, 16 and 32 pixels.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from atc.config import build
from atc.core import Reducer, Stages
from atc.dense.initial import initialise
from atc.dense.interactions import Interaction, as_maps, pyramid_grids
from atc.dense.released import fit_positions, load_adapter
from atc.dense.spatial_prior import SpatialPrior
from atc.values import Blocks, Count, KeepRates, Positive, Thresholds, checked
from atc.vit.hosts.patch_tokens import PATCH, PatchTokens
from atc.vit.reduced import ReducedViT, ReducerFactory, reducer_class
from atc.vit.stream import Stream

INTERACTIONS = 4
_MULTIPLE = 2 * PATCH  # of the sides of images: the coarsest map has stride 32


class ViTAdapter(ReducedViT):
    """A pyramid of four maps from a ViT that reduces its tokens, in the form of torchvision's backbones.

    A convolutional pyramid and the patches exchange what they know four times, each time around a quarter of the
    blocks. For an exchange every source patch has the value of the token that holds it; behind it, a token is the mean
    of its patches. Where a method prunes, dropped patches keep the value that they left with, and the exchanges go on
    to update it.

    The ViT is not copied: its patch projection, patch positions and blocks become part of the adapter. CLS token, final
    norm and head are not used.

    Args:
        vit: a plain ViT of timm with patches of 16 x 16 pixels and learned positions, built for any image size.
        reducer: as in `atc.wrap`; "none" keeps all tokens.
        keep_rate: share of the tokens that reach a reducing block which it keeps, truncated to whole tokens; or one
            share for each block.
        blocks: the reducing blocks, 1-based.
        threshold: as in `atc.wrap`, in place of a keep rate.
        conv_inplane: channels of the convolutional pyramid's first map.
        deform_heads: heads of deformable attention: 6 for ViT-T and S, 12 for B, 16 for L.
        deform_ratio: of its channels inside to C.
        cffn_ratio: of the channels inside the extractors' MLP to C.
        proportional_attention: as in `atc.wrap`.
        size_weighted: as in `atc.wrap`.
        as_released: order ToMe's tokens and compute ATC's distances as the authors' code does; implies `clamp`.
        clamp: as in `atc.wrap`.
        reducer_args: constructor arguments of the reducer.

    Attributes:
        out_channels: C, channels of every map.
        trace: what became of the tokens in the latest forward.

    Raises:
        ValueError: a ViT, method or setting that cannot be used, in one line.

    Examples:
        >>> import timm
        >>> vit = timm.create_model("vit_tiny_patch16_224", num_classes=0)
        >>> backbone = ViTAdapter(vit, "atc_average", keep_rate=0.5)
        >>> {name: list(one.shape) for name, one in backbone(torch.rand(1, 3, 64, 96)).items()}
        {'0': [1, 192, 16, 24], '1': [1, 192, 8, 12], '2': [1, 192, 4, 6], '3': [1, 192, 2, 3]}
        >>> backbone.trace.tokens()
        [12, 6, 3]
    """

    @checked
    def __init__(
        self,
        vit: nn.Module,
        reducer: str | type[Reducer] | ReducerFactory = "none",
        keep_rate: KeepRates | None = None,
        blocks: Blocks = (4, 7, 10),
        *,
        threshold: Thresholds | None = None,
        conv_inplane: Count = 64,
        deform_heads: Count = 6,
        deform_ratio: Positive = 1.0,
        cffn_ratio: Positive = 0.25,
        proportional_attention: bool | None = None,
        size_weighted: bool | None = None,
        as_released: bool = False,
        clamp: bool = False,
        reducer_args: Mapping[str, Any] | None = None,
    ):
        patches = PatchTokens(vit)
        dim, depth = patches.embed_dim, len(patches.blocks)
        if depth % INTERACTIONS:
            raise ValueError(f"a depth of {depth} blocks cannot be divided among {INTERACTIONS} interactions")
        if int(dim * cffn_ratio) < 1:
            raise ValueError(f"cffn_ratio={cffn_ratio} of {dim} channels leaves no channel inside the extractors' MLP")
        factory = _factory(reducer, as_released, reducer_args)
        if keep_rate is None and threshold is None:
            if reducer_class(factory).reduces:
                raise ValueError(
                    f"{reducer_class(factory).__name__} needs a keep_rate in (0, 1], such as keep_rate=0.5"
                )
            keep_rate = 1.0
            blocks = blocks if max(blocks) <= depth else (1,)
        schedule = Stages(keep_rate, blocks, of="current", threshold=threshold, as_released=as_released, clamp=clamp)
        super().__init__(patches, factory, schedule, proportional_attention, size_weighted)
        self.out_channels = dim
        self.spm = SpatialPrior(conv_inplane, dim)
        self.level_embed = nn.Parameter(torch.randn(3, dim))
        rate = _drop_path(patches.blocks[-1])
        last = INTERACTIONS - 1
        self.interactions = nn.ModuleList(
            Interaction(dim, deform_heads, deform_ratio, cffn_ratio, rate, extra=2 if number == last else 0)
            for number in range(INTERACTIONS)
        )
        self.up = nn.ConvTranspose2d(dim, dim, 2, stride=2)
        self.norm1, self.norm2 = nn.BatchNorm2d(dim), nn.BatchNorm2d(dim)
        self.norm3, self.norm4 = nn.BatchNorm2d(dim), nn.BatchNorm2d(dim)
        initialise(self.spm, self.interactions, self.up)
        own = (self.spm, self.interactions, self.up, self.norm1, self.norm2, self.norm3, self.norm4)
        like = patches.pos_embed
        for module in own:
            module.to(like.device, like.dtype).train(vit.training)
        self.level_embed.data = self.level_embed.data.to(like.device, like.dtype)

    @override
    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:  # type: ignore[override]  # maps, no logits
        """``[B, 3, H, W]`` -> ``{"0": [B, C, H/4, W/4], ..., "3": [B, C, H/32, W/32]}``; sets `trace`.

        Raises:
            ValueError: sides that are not multiples of 32.
        """
        _check_sides(images)
        first, coarse = self.spm(images)
        pyramid = torch.cat([part + level for part, level in zip(coarse, self.level_embed, strict=True)], dim=1)
        stream = self.start(tokens=self.host.model(images), grid=self.host.grid(images), keep_pruned=True)
        run = self._run()
        share = self.depth // INTERACTIONS
        for number, interaction in enumerate(self.interactions):
            one: Any = interaction
            stream.replace(run(one.injector, stream.expanded(), pyramid, stream.grid))
            for block in range(number * share + 1, (number + 1) * share + 1):
                stream.step(block)
            patches = stream.expanded()
            for extractor in one.extractors():
                pyramid = run(extractor, pyramid, patches, stream.grid)
        self.note(stream, stream.x, stream.x.new_zeros(len(images), 0))  # there are no classes
        return self._pyramid(first, pyramid, stream)

    def _pyramid(self, first: Tensor, pyramid: Tensor, stream: Stream) -> OrderedDict[str, Tensor]:
        """The maps that leave: those of the pyramid, with the patches at every stride added."""
        (patches,) = as_maps(stream.expanded(), [stream.grid])
        second, third, fourth = as_maps(pyramid, pyramid_grids(stream.grid))
        maps = self.up(second) + first, second, third, fourth
        norms = self.norm1, self.norm2, self.norm3, self.norm4
        scaled = _resized(patches, 4.0), _resized(patches, 2.0), patches, _resized(patches, 0.5)
        levels = zip(norms, maps, scaled, strict=True)
        return OrderedDict((str(number), norm(one + x)) for number, (norm, one, x) in enumerate(levels))

    def _run(self) -> Callable[..., Tensor]:
        if self.host.recomputes() and self.training and torch.is_grad_enabled():
            return functools.partial(checkpoint, use_reentrant=False)
        return lambda function, *args: function(*args)

    def load_released(self, state_dict: Mapping[str, Any]) -> None:
        """Load weights under the names of the authors' ViT-Adapter, with or without `backbone.` in front.

        `cls_token`, `norm.*` and `head.*` are left out, and `num_batches_tracked` may be missing. Positions are kept
        whole, for whatever image size they are. What reducers learn is taken from it, such as SViT's
        `selective_modules.*`, or stays as it is where there is none of it.

        Args:
            state_dict: of a checkpoint.

        Raises:
            ValueError: any other name is missing or unknown, or a tensor has another shape; then nothing is loaded.
        """
        load_adapter(self, state_dict)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        fit_positions(self, state_dict.get(f"{prefix}pos_embed"))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _no_such(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError("a ViTAdapter gives feature maps, not tokens or logits: call it with images [B, 3, H, W]")

    forward_features = forward_head = forward_intermediates = get_intermediate_layers = _no_such  # of a ViT


def _factory(
    reducer: str | type[Reducer] | ReducerFactory, as_released: bool, arguments: Mapping[str, Any] | None
) -> ReducerFactory:
    """The method with its arguments, refused where it cannot give patches back."""
    factory: Any = build.find_reducer(reducer)  # type: ignore[arg-type]  # a factory stays as it is
    switches = {"as_released": True} if as_released and build.accepts(factory, "as_released") else {}
    factory = build.bind(factory, **{**switches, **(arguments or {})})
    method = reducer_class(factory)
    if method.soft:
        raise ValueError(
            f"{method.__name__} shares each patch out over several tokens (Mix), so its patches cannot be taken back "
            "from a pyramid; take a method that merges or prunes, such as atc_average"
        )
    return factory


def _check_sides(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.dim() != 4 or images.shape[1] != 3:
        found = str(list(images.shape)) if isinstance(images, Tensor) else type(images).__name__
        hint = "; one image is images[None]" if isinstance(images, Tensor) and images.dim() == 3 else ""
        raise ValueError(f"images must be [B, 3, H, W], got {found}{hint}")
    height, width = images.shape[-2:]
    if height % _MULTIPLE or width % _MULTIPLE or not height or not width:
        fitting = [max(1, -(-side // _MULTIPLE)) * _MULTIPLE for side in (height, width)]
        raise ValueError(
            f"images of {height} x {width} pixels: both sides must be multiples of {_MULTIPLE}; "
            f"pad them to {fitting[0]} x {fitting[1]}"
        )


def _drop_path(block: Any) -> float:
    """The share of images for which a block leaves out its branches in training."""
    return float(getattr(block.drop_path1, "drop_prob", 0.0) or 0.0)


def _resized(maps: Tensor, scale: float) -> Tensor:
    return F.interpolate(maps, scale_factor=scale, mode="bilinear", align_corners=False)
