"""What methods with learned layers share."""

from torch import nn

from atc.core.reducer import Reducer


def start_linear(layers: nn.Module) -> None:
    """Start linear layers as the authors do: a truncated normal of standard deviation .02, and biases of 0."""
    for layer in layers.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def check_learned_count(reducer: Reducer, keep: int) -> None:
    """ValueError where a method that learns a layer for each output is asked for another number of outputs."""
    if keep != reducer.stage.keep:
        raise ValueError(
            f"learns {reducer.stage.keep} output tokens and cannot leave {keep}: build the backbone at the image size "
            f"that it will see"
        )
