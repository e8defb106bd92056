"""Views for the tests of single methods."""

import torch

from atc.core import TokenView


def random_view(batch: int = 2, n: int = 23, dim: int = 8, prefix: int = 1, heads: int = 3, seed: int = 0) -> TokenView:
    """float64 tokens with keys and attention, odd in number."""
    g = torch.Generator().manual_seed(seed)
    attn = torch.randn(batch, heads, prefix + n, prefix + n, generator=g).double().softmax(-1)
    return TokenView(
        x=torch.randn(batch, n, dim, generator=g).double(),
        keys=torch.randn(batch, n, 5, generator=g).double(),
        size=torch.randint(1, 5, (batch, n), generator=g).double(),
        source=torch.arange(n).expand(batch, -1),
        grid=(1, n),
        cls_attn=attn[:, :, 0, prefix:],
        attn=attn,
    )
