"""What `python -m atc.bench throughput` measures: models, batch sizes, precisions, modes."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from atc.config import build
from atc.config.combinations import Choice
from atc.cost.flops import gflops_by_formula, gflops_per_image
from atc.cost.memory import memory
from atc.cost.tokens import smooth
from atc.vit.host import host_of
from atc.vit.images import data_config
from atc.vit.reduced import ReducedViT, reducer_class

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
DENSE = "none"
DIFFERENT_IMAGES = 8  # per batch; the rest repeats them, which changes nothing for methods that look at one image


class Reduction(NamedTuple):
    """A reducer with what its schedule is given: keep_rate, t or threshold; all None without reduction."""

    reducer: str
    schedule: str | None = None
    keep_rate: float | tuple[float, ...] | None = None
    t: int | None = None
    threshold: float | tuple[float, ...] | None = None


class Combination(NamedTuple):
    """One thing to be measured."""

    reduction: Reduction
    batch_size: int
    precision: str
    compile: bool
    cuda_graph: bool = False

    @property
    def dense(self) -> "Combination":
        """The same without reduction."""
        return self._replace(reduction=Reduction(DENSE))


class Models:
    """A backbone in every precision asked for, and its reductions; all share its weights.

    Args:
        choices: conf/throughput.yaml, composed for each combination of its lists.

    Attributes:
        combinations: what is to be measured, with the dense model of each beside it.

    Raises:
        ValueError: something cannot be measured; one line, before anything is.
    """

    def __init__(self, choices: Sequence[Choice]):
        first = choices[0].cfg
        self.device = device(first)
        self.backbone = str(first.choices["backbone"])
        torch.manual_seed(first.seed)
        vit = build.instantiate(first.backbone).eval()
        host_of(vit)  # a backbone that cannot be wrapped is refused before anything is measured
        self._vits: dict[str, nn.Module] = {}
        self._reduced: dict[tuple[Reduction, str], nn.Module] = {}
        self._costs: dict[Reduction, dict[str, Any]] = {}
        found: dict[Combination, None] = {}
        for choice in choices:
            combination = _combination(choice, self.device)
            precision = combination.precision
            modes = _modes(choice.cfg.cuda_graph, combination, self.device)
            if precision not in self._vits:
                self._vits[precision] = copy.deepcopy(vit).to(self.device, PRECISIONS[precision])
            if combination != combination.dense and (combination.reduction, precision) not in self._reduced:
                self._reduced[combination.reduction, precision] = self._reduce(choice.cfg, precision)
            found |= {one: None for mode in modes for one in (mode.dense, mode)}
        place = {one.reduction: number for number, one in reversed(list(enumerate(found)))}  # where it comes first
        self._check_memory(max(one.batch_size for one in found))
        precisions = list(self._vits)
        self.combinations = sorted(
            found,
            key=lambda one: (
                one.batch_size,
                precisions.index(one.precision),
                one.compile,
                one.cuda_graph,
                place[one.reduction],
            ),
        )

    def _check_memory(self, number: int) -> None:
        """ValueError for a batch whose images alone could not be held; what else a forward takes shows when it runs."""
        needed, there = 4 * number * self.images(1).numel(), memory(self.device)
        if there is not None and needed > there:
            where = "the GPU" if self.device.type == "cuda" else "this machine"
            raise ValueError(
                f"batch_size={number}: the images alone take {needed / 1e9:,.0f} GB, {where} has {there / 1e9:,.0f}"
            )

    def _reduce(self, cfg: DictConfig, precision: str) -> nn.Module:
        parts = build.instantiate(cfg.reducer), build.instantiate(cfg.schedule)
        model = ReducedViT(self._vits[precision], *parts, cfg.proportional_attention, cfg.size_weighted)
        return model.to(self.device, PRECISIONS[precision]).eval()

    def get(self, combination: Combination) -> nn.Module:
        """The eager model: timm's own without reduction, else a `ReducedViT`."""
        if combination == combination.dense:
            return self._vits[combination.precision]
        return self._reduced[combination.reduction, combination.precision]

    def images(self, number: int) -> Tensor:
        """[number, 3, H, W] float32 on the device: slowly varying fields, regions and noise, a few different ones."""
        vit: Any = next(iter(self._vits.values()))
        embedding = getattr(vit, "patch_embed", None)
        height, width = getattr(embedding, "img_size", None) or data_config(vit)["input_size"][-2:]
        drawn = smooth(min(number, DIFFERENT_IMAGES), height * width, channels=3).mT.unflatten(-1, (height, width))
        return drawn[torch.arange(number) % len(drawn)].to(self.device)

    def cost(self, combination: Combination) -> dict[str, Any]:
        """Tokens entering each block, and GFLOPs per image counted by PyTorch and by the formula."""
        if combination.reduction in self._costs:
            return self._costs[combination.reduction]
        model, image = self.get(combination), self.images(1).to(PRECISIONS[combination.precision])
        counted = gflops_per_image(model, image)
        vit: Any = self._vits[combination.precision]
        host = host_of(vit)
        dense = [host.num_patches] * len(host.blocks)
        self._costs[combination.reduction] = {
            "tokens_per_block": model.tokens_per_block() if isinstance(model, ReducedViT) else dense,
            "gflops": counted,
            "gflops_by_formula": gflops_by_formula(model),
        }
        return self._costs[combination.reduction]


def device(cfg: DictConfig) -> torch.device:
    """Where to measure; ValueError for what is not there."""
    name = cfg.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda: PyTorch finds no GPU here; device=cpu measures on the CPU")
    return torch.device(name)


def _modes(cuda_graph: bool | None, combination: Combination, where: torch.device) -> list[Combination]:
    """The combination as it is, replayed as a CUDA graph, or (not said, eager, on a GPU) both."""
    if cuda_graph and where.type != "cuda":
        raise ValueError(f"cuda_graph=true needs a GPU, and device={where.type}")
    replayed = combination._replace(cuda_graph=True)
    if cuda_graph is None and where.type == "cuda" and not combination.compile:
        return [combination, replayed]
    return [replayed] if cuda_graph else [combination]


def _combination(choice: Choice, where: torch.device) -> Combination:
    cfg = choice.cfg
    if cfg.precision == "fp16" and where.type == "cpu":
        raise ValueError("precision=fp16 is for GPUs: on a CPU there are fp32 and bf16")
    schedule = OmegaConf.to_container(cfg.schedule, resolve=True)
    assert isinstance(schedule, dict)
    reduction = Reduction(DENSE)
    if reducer_class(build.instantiate(cfg.reducer)).reduces:
        counts = {key: schedule[key] for key in ("keep_rate", "t", "threshold") if key in schedule}
        counts = {key: tuple(value) if isinstance(value, list) else value for key, value in counts.items()}
        assert choice.reducer is not None, "a benchmark names its reducer"
        reduction = Reduction(choice.reducer, cfg.choices["schedule"], **counts)
    return Combination(reduction, cfg.batch_size, cfg.precision, cfg.compile)
