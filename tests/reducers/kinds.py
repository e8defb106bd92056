"""A tiny method of each kind: soft, padded, masked in training, learned with a loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atc.core import Mix, Reducer, Select


class Soft(Reducer):
    """Every output token looks at all tokens, with learned queries (as PatchMerger)."""

    def __init__(self, stage):
        super().__init__(stage)
        self.queries = nn.Parameter(torch.randn(stage.keep, stage.dim))

    def forward(self, view, keep):
        logits = self.queries[:keep] @ view.x.transpose(1, 2) / view.x.shape[-1] ** 0.5
        return Mix(logits.softmax(dim=-1))


class Padded(Reducer):
    """Keeps the tokens whose first channel is above the mean of their image, `keep` at most and one at least."""

    dynamic = True

    def forward(self, view, keep):
        score = view.x.detach()[..., 0]
        real = torch.ones_like(score, dtype=torch.bool) if view.valid is None else view.valid
        mean = score.masked_fill(~real, 0).sum(1, keepdim=True) / real.sum(1, keepdim=True)
        ranked, indices = score.masked_fill(~real, -torch.inf).topk(keep, dim=1)
        valid = ranked > mean
        valid = torch.cat([torch.ones_like(valid[:, :1]), valid[:, 1:]], dim=1)
        return Select(indices, view.x.shape[1], valid=valid)


class Masked(Reducer):
    """Learns which tokens to keep by a mask with Gumbel noise, in training; then keeps the best (as DynamicViT)."""

    site = "before_block"
    masks_training = True

    def __init__(self, stage):
        super().__init__(stage)
        self.score = nn.Linear(stage.dim, 2)
        nn.init.zeros_(self.score.bias)

    def forward(self, view, keep):
        logits = F.log_softmax(self.score(view.x), dim=-1)
        tokens = view.x.shape[1]
        if not self.training:
            return Select(logits[..., 0].topk(keep, dim=1).indices, tokens)
        soft = (logits - self.draw(logits.shape, logits, exponential=True).log()).softmax(dim=-1)
        hard = F.one_hot(soft.argmax(dim=-1), 2).to(soft.dtype)
        valid = (hard - soft.detach() + soft)[..., 0]
        valid = valid if view.valid is None else valid * view.valid
        every = torch.arange(tokens, device=valid.device).expand(len(valid), -1)
        return Select(every, tokens, valid=valid)

    def losses(self, plans, context):
        kept = torch.stack([plan.valid.mean() for plan in plans])
        return {"ratio": (kept - 0.5).square().mean()}


class Learned(Reducer):
    """Keeps the best by a learned score, which a distillation from the teacher's patches trains."""

    def __init__(self, stage):
        super().__init__(stage)
        self.score = nn.Linear(stage.dim, 1, bias=False)

    def forward(self, view, keep):
        score = self.score(view.x).squeeze(-1)
        plan = Select(score.topk(keep, dim=1).indices, view.x.shape[1])
        plan.score = score
        return plan

    def losses(self, plans, context):
        agreed = context.logits.logsumexp(dim=1).mean() * 0
        if context.teacher_features is not None:
            agreed = agreed + context.teacher_features.square().mean()
        return {"score": sum(plan.score.square().mean() for plan in plans) * (1 + agreed)}


KINDS: dict[str, type[Reducer]] = {"soft": Soft, "padded": Padded, "masked": Masked, "learned": Learned}


def exponential(shape: tuple[int, ...]) -> Tensor:
    """Noise for `Masked`."""
    return torch.empty(shape).exponential_(generator=torch.Generator().manual_seed(3))
