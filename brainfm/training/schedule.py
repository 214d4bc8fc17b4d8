"""Learning-rate factors as pure functions of the step: nothing to save, nothing to drift.

Step 0 is the first optimiser step. Every length is given in steps by the configuration, because
lengths that the trainer estimates itself break an exact resume in the middle of an epoch.
"""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from brainfm.training.optim import AdamWSettings


def warmup_cosine(step: int, warmup_steps: int, decay_steps: int, floor: float) -> float:
    """Factor on the base rate: a line up to 1, a half cosine down to `floor`, then `floor`.

    Parameters
    ----------
    step : number of optimiser steps already taken
    warmup_steps : the factor is (step + 1) / warmup_steps before it, so step 0 already learns
    decay_steps : step at which the cosine has reached `floor`; counts from step 0
    floor : in [0, 1]; BrainOmni (arXiv 2505.18185) uses .05 for the codec and .1 for the encoder
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if step >= decay_steps:
        return floor
    progress = (step - warmup_steps) / (decay_steps - warmup_steps)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def cosine_schedule(optimizer: Optimizer, settings: AdamWSettings) -> LambdaLR:
    """`warmup_cosine` on every parameter group of `optimizer`, stepped once per optimiser step."""
    warmup, decay, floor = settings.warmup_steps, settings.decay_steps, settings.lr_floor
    return LambdaLR(optimizer, lambda step: warmup_cosine(step, warmup, decay, floor))
