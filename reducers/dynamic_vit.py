"""DynamicViT (Rao et al., NeurIPS 2021, arXiv 2106.02034), as used in arXiv 2308.04657."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atc.core import LossContext, NotNegative, Plan, Reducer, Select, Stage, TokenView
from atc.core.distillation import check_alike, divergence, exact
from atc.core.learned import start_linear


class DynamicViT(Reducer):
    """A small network says for each token whether to keep it; what is dropped once stays dropped.

    In training all tokens stay: a choice with Gumbel noise masks them, in the attention of this block and of all later
    ones, and gradients pass straight through it. In evaluation the `keep` tokens of highest probability are kept, in
    this order. The losses pull the share of kept tokens to the keep rate, and logits and tokens to those of a teacher
    that reduces nothing. Of images with any number of labels, the teacher's sigmoids are the targets of a binary
    cross-entropy. An image that has lost all its patches is scored as if it had an empty mean.

    Args:
        stage: where the instance works.
        cls_weight: of the loss of the task.
        ratio_weight: of ``ratio``, the squared difference of kept share and keep rate, a mean over stages.
        cls_distill_weight: of ``kd_cls``, the divergence of the logits from the teacher's.
        token_distill_weight: of ``kd_token``, the difference of the tokens left at the end from the teacher's.
        mse_token: squared differences in ``kd_token``; false: the divergence of softmaxes over channels.
        as_released: an image that has lost all its patches gives NaN, and softmaxes serve images with any number of
            labels, too. (The authors' masked attention is computed in float32 at most; here float64 stays float64.)
    """

    site = "before_block"
    masks_training = True
    needs_training = True
    released_method = "dyvit"
    released_arguments = {
        "cls_weight": "cls_weight",
        "ratio_weight": "ratio_weight",
        "cls_distill_weight": "cls_distill_weight",
        "token_distill_weight": "token_distill_weight",
        "mse_token": "mse_token",
    }
    released_names = {
        "score_predictor.{stage}.in_conv.": "embed.",
        "score_predictor.{stage}.out_conv.": "score.",
    }

    def __init__(
        self,
        stage: Stage,
        cls_weight: NotNegative = 1.0,
        ratio_weight: NotNegative = 2.0,
        cls_distill_weight: NotNegative = 0.5,
        token_distill_weight: NotNegative = 0.5,
        mse_token: bool = True,
        as_released: bool = False,
    ):
        super().__init__(stage)
        self.mse_token, self.as_released = mse_token, as_released
        self.loss_weights = {
            "base": cls_weight,
            "ratio": ratio_weight,
            "kd_cls": cls_distill_weight,
            "kd_token": token_distill_weight,
        }
        dim = stage.dim
        self.embed = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU())
        self.score = nn.Sequential(
            *(nn.Linear(dim, dim // 2), nn.GELU(), nn.Linear(dim // 2, dim // 4), nn.GELU(), nn.Linear(dim // 4, 2))
        )
        start_linear(self)

    def _log_probabilities(self, x: Tensor, kept: Tensor | None) -> Tensor:
        """[B, N, C] and which tokens are left [B, N] -> [B, N, 2], to keep a token and to drop it."""
        local, context = self.embed(x).tensor_split([x.shape[2] // 2], dim=2)
        if kept is None:
            mean = context.mean(dim=1)
        else:
            count = kept.sum(dim=1, keepdim=True)
            mean = (context * kept.unsqueeze(-1)).sum(dim=1) / (count if self.as_released else count.clamp_min(1))
        mean = (mean + 1e-6).to(local.dtype)  # the authors add it here; a mask may be finer than half precision
        mean = mean.unsqueeze(1).expand(-1, x.shape[1], -1)
        return F.log_softmax(self.score(torch.cat([local, mean], dim=2)), dim=-1)

    def forward(self, view: TokenView, keep: int) -> Plan:
        """In training all tokens and a mask in {0, 1} of them; in evaluation the `keep` most probable."""
        tokens = view.x.shape[1]
        logits = self._log_probabilities(view.x, view.valid)
        if not self.training:
            return Select(logits[..., 0].topk(keep, dim=1).indices, num_in=tokens)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        soft = (logits - self.draw(logits.shape, logits, exponential=True).log()).softmax(dim=-1)
        hard = F.one_hot(soft.argmax(dim=-1), 2).to(soft.dtype)
        valid = (hard - soft.detach() + soft)[..., 0]
        if view.valid is not None:
            valid = valid * view.valid
        every = torch.arange(tokens, device=valid.device).expand(len(valid), -1)
        return Select(every, num_in=tokens, valid=valid)

    def losses(self, plans: Sequence[Plan], context: LossContext) -> dict[str, Tensor]:
        """This stage's part of ``ratio``; at the last one, with a teacher, ``kd_cls`` and ``kd_token``."""
        kept = torch.stack([plan.valid for plan in plans if plan.valid is not None])
        found = {"ratio": (kept.mean(dim=2) - self.stage.rate).square().mean() / max(len(context.blocks), 1)}
        if context.blocks[-1:] == (self.stage.block,) and context.teacher_logits is not None:
            found["kd_cls"] = self._of_logits(context)
            found["kd_token"] = self._of_tokens(context)
        return found

    def _of_logits(self, context: LossContext) -> Tensor:
        assert context.teacher_logits is not None
        check_alike("logits", context.logits, context.teacher_logits)
        logits, wanted = (exact(found) for found in (context.logits, context.teacher_logits))
        if context.multilabel and not self.as_released:
            return F.binary_cross_entropy_with_logits(logits, wanted.sigmoid())
        return divergence(logits, wanted).mean()

    def _of_tokens(self, context: LossContext) -> Tensor:
        """A mean over all tokens of the batch that are left, 0 if there are none."""
        assert context.teacher_features is not None
        assert context.valid is not None
        check_alike("tokens", context.features, context.teacher_features)
        left = context.valid.detach() > 0.5
        found, wanted = (exact(features) for features in (context.features, context.teacher_features))
        apart = (found - wanted).square().mean(dim=2) if self.mse_token else divergence(found, wanted)
        return apart.masked_fill(~left, 0).sum() / left.sum().clamp_min(1)
