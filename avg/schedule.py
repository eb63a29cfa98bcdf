"""The learning-rate schedule of every training here."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401  (before transformers)

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_cosine_schedule_with_warmup


def warm_cosine(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Returns a schedule that rises over a tenth of the steps and falls to zero along a cosine."""
    return get_cosine_schedule_with_warmup(optimizer, steps // 10, steps)
