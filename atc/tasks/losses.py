"""Losses as functions of logits and targets."""

import torch
from torch import Tensor


def asymmetric_loss(
    logits: Tensor, targets: Tensor, gamma_neg: float = 4.0, gamma_pos: float = 0.0, clip: float = 0.05
) -> Tensor:
    """Asymmetric loss of multi-label logits [B, K] and targets [B, K] in {0, 1}, summed over batch and labels.

    Easy negatives count less: a negative's probability is lowered by `clip` and focused with `gamma_neg`, a
    positive's with `gamma_pos`. Eq. 4-7 of arXiv 2009.14119, with the gradient through the focusing weight, in
    float32 at least. Being a sum, it grows with the number of pictures on a device, as in the released code.
    (timm has it as AsymmetricLossMultiLabel, but its default went from the sum to a mean over the batch.)
    """
    if logits.shape != targets.shape:  # it would broadcast where there are as many pictures as labels
        raise ValueError(f"targets {tuple(targets.shape)} are not a row of labels per picture, {tuple(logits.shape)}")
    logits = logits if logits.dtype == torch.float64 else logits.float()
    targets = targets.to(logits.dtype)
    positive = logits.sigmoid()
    negative = (1 - positive + clip).clamp(max=1)
    eps = 1e-8  # as released: keeps the logarithm finite
    log_likelihood = targets * positive.clamp(min=eps).log() + (1 - targets) * negative.clamp(min=eps).log()
    likelihood = targets * positive + (1 - targets) * negative
    gamma = targets * gamma_pos + (1 - targets) * gamma_neg
    return -((1 - likelihood) ** gamma * log_likelihood).sum()
