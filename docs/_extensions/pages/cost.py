"""What a method costs: tokens and operations of DeiT-Tiny at the papers' keep rates, counted."""

import functools
from dataclasses import dataclass

import timm
import torch
from torch import nn

import atc
from atc.cost.flops import gflops_per_image
from pages.kind import quiet
from pages.method import Method

RATES = (0.25, 0.5, 0.7, 0.9)
BLOCKS = (4, 7, 10)
OUT_OF_REACH = "out of reach"
COUNTED = (
    "DeiT-Tiny at 224 pixels, which has 196 patches. Operations were counted in a forward pass, those of the method "
    "included; a multiply-add is two operations."
)


@dataclass(frozen=True)
class Cost:
    """What one setting costs.

    Attributes:
        keep_rate: of the schedule.
        tokens: left behind each of the reducing blocks; empty where nothing is reduced.
        gflops: per image; None where the method cannot reach the keep rate.
    """

    keep_rate: float
    tokens: tuple[int, ...]
    gflops: float | None


@functools.cache
def _backbone() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model("deit_tiny_patch16_224").eval()
    return model


def depends_on_the_image(method: Method) -> bool:
    """Whether images keep different numbers of tokens, so that random weights tell nothing of the cost."""
    return method.cls.by_threshold or method.cls.gates


@functools.cache
def cost(name: str, keep_rate: float, one_stage: bool = False) -> Cost:
    """What a method costs on DeiT-Tiny at 224 pixels, with random weights.

    Args:
        name: of the method.
        keep_rate: of the schedule.
        one_stage: whether it works at one block only.

    Returns:
        Tokens and GFLOPs, counted in a forward of one image of noise.
    """
    blocks = list(BLOCKS[:1] if one_stage else BLOCKS)
    with quiet():
        try:
            model = atc.wrap(_backbone(), name, keep_rate=keep_rate, blocks=blocks)
        except ValueError:  # out of reach
            return Cost(keep_rate, (), None)
        try:
            image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
            gflops = gflops_per_image(model, image)
            left = {stage.block: stage.tokens_out for stage in model.trace}
        finally:
            atc.unwrap(model)
    tokens: list[int] = []
    for block in blocks if left else []:  # a stage that removes nothing is not in the trace
        tokens.append(left.get(block, tokens[-1] if tokens else model.trace[0].tokens_in))
    return Cost(keep_rate, tuple(tokens), gflops)


def table(method: Method) -> str:
    """Tokens and GFLOPs of a method at the papers' keep rates, in Markdown.

    Args:
        method: the method; one whose counts depend on the image has no table, but a line that says so.

    Returns:
        A table and a line.
    """
    if depends_on_the_image(method):
        return "How many tokens are left depends on the image, so that no cost can be given without a trained model."
    if not method.cls.reduces:
        return f"{COUNTED}\n\nNothing is reduced: {cost(method.name, 1.0).gflops:.2f} GFLOPs per image."
    found = [cost(method.name, rate, method.cls.one_stage) for rate in RATES]
    blocks = BLOCKS[:1] if method.cls.one_stage else BLOCKS
    where = f"block {blocks[0]}" if len(blocks) == 1 else f"blocks {', '.join(map(str, blocks))}"
    rows = [
        ["keep rate", *(f"{one.keep_rate:g}" for one in found)],
        ["---", *["---:"] * len(found)],
        [f"tokens {'at most ' * method.cls.dynamic}behind {where}", *map(_tokens, found)],
        ["GFLOPs per image", *(OUT_OF_REACH if one.gflops is None else f"{one.gflops:.2f}" for one in found)],
    ]
    return COUNTED + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _tokens(one: Cost) -> str:
    return OUT_OF_REACH if one.gflops is None else ", ".join(map(str, one.tokens))
