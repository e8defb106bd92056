"""SViT (Liu et al., WACV 2024, arXiv 2306.07050): gates choose the tokens of each block."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from atc.core import NotNegative, Plan, Positive, Reducer, Select, Stage, TokenView
from atc.core.learned import start_linear


class _MLP(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, max(dim // 4, 1)), nn.Linear(max(dim // 4, 1), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SViT(Reducer):
    """A gate at every block says for each token whether the block computes it; all tokens are back behind the block.

    A token that a block leaves out keeps its value, and may be chosen again later. In evaluation a token is chosen
    where the gate finds that likelier than not, so that images choose different numbers of tokens, or none. In
    training the choice is made with Gumbel noise, and gradients pass straight through it; all tokens are computed, and
    those chosen are the keys. Prefix tokens are always chosen. The loss ``ratio`` pulls the share of chosen tokens, of
    all images of a batch, to the rate that the schedule asks for: .7 at blocks 4 to 6, .49 at 7 to 9 and .343 from
    block 10 on, for a keep rate of .7.

    Args:
        stage: where the instance works.
        ratio_weight: of ``ratio``, the squared difference of chosen share and rate, a mean over blocks.
        norm_eps: epsilon of the layer norms of every block; None: the model's own, or 1e-5 with `as_released`.
        eval_noise: draw Gumbel noise in evaluation, too, which makes results random; None: as `as_released`.
        as_released: the authors' blocks have an epsilon of 1e-5, in a model that was trained with 1e-6, and their
            scripts never switch noise off.
    """

    site = "before_block"
    dynamic = True
    gates = True
    needs_training = True
    released_names = {"selective_modules.{stage}.": ""}

    def __init__(
        self,
        stage: Stage,
        ratio_weight: NotNegative = 4.0,
        norm_eps: Positive | None = None,
        eval_noise: bool | None = None,
        as_released: bool = False,
    ):
        super().__init__(stage)
        self.loss_weights = {"ratio": ratio_weight}
        self.norm_eps = 1e-5 if norm_eps is None and as_released else norm_eps
        self.eval_noise = as_released if eval_noise is None else eval_noise
        self.norm = nn.LayerNorm(stage.dim)
        self.mlp = _MLP(stage.dim)
        start_linear(self)

    @override
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The tokens that are chosen, the likeliest first, `keep` at most; in training all, and a mask in {0, 1}."""
        tokens = view.x.shape[1]
        logits = self.mlp(self.norm(view.x))
        if self.training or self.eval_noise:
            logits = logits if logits.dtype == torch.float64 else logits.float()
            logits = logits - self.draw(logits.shape, logits, exponential=True).log()
        if not self.training:
            better = logits[..., 0] - logits[..., 1]
            better = better if view.valid is None else better.masked_fill(~view.valid, -torch.inf)
            ranked, indices = better.topk(keep, dim=1)
            return Select(indices, num_in=tokens, valid=ranked >= 0)
        soft = logits.softmax(dim=-1)[..., 0]
        hard = (logits[..., 0] >= logits[..., 1]).to(soft.dtype)
        every = torch.arange(tokens, device=soft.device).expand(len(soft), -1)
        return Select(every, num_in=tokens, valid=hard + (soft - soft.detach()))

    @override
    def losses(self, plans: Sequence[Plan]) -> dict[str, Tensor]:
        """This block's part of ``ratio``, which is a mean over all blocks that have a gate."""
        stage = self.stage
        gates = stage.depth - stage.block + stage.number
        chosen = torch.stack([plan.valid.mean() for plan in plans if plan.valid is not None])
        return {"ratio": (chosen - stage.rate).square().mean() / gates}
