"""AdamW with the groups every brainfm run uses: decay on matrices only, rates by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW

from brainfm.errors import ContractError
from brainfm.hub import BrainModel


@dataclass(frozen=True)
class AdamWSettings:
    """One optimiser and its schedule; each task's signature holds the published values."""

    lr: float
    weight_decay: float
    betas: tuple[float, float]
    eps: float
    warmup_steps: int
    """Optimiser steps of linear warm-up."""
    decay_steps: int
    """Optimiser step at which the cosine has reached its floor."""
    lr_floor: float
    """Last rate as a fraction of `lr`."""

    def __post_init__(self) -> None:
        if not 0 < self.lr < 1:
            raise ContractError(f"lr is {self.lr}; a rate per step lies between 0 and 1")
        if self.weight_decay < 0:
            raise ContractError(f"weight_decay is {self.weight_decay}; it must not be negative")
        if not 0 <= self.warmup_steps < self.decay_steps:
            raise ContractError(
                f"warmup_steps is {self.warmup_steps} and decay_steps {self.decay_steps}: the "
                "warm-up must end before the decay does; both count optimiser steps from the "
                "start of the run"
            )
        if not 0 <= self.lr_floor <= 1:
            raise ContractError(
                f"lr_floor is {self.lr_floor}; it is a fraction of lr, between 0 and 1"
            )
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise ContractError(f"betas is {tuple(self.betas)}; two numbers in [0, 1) are needed")


def undecayed(module: nn.Module) -> set[str]:
    """Names of parameters that weight decay would only harm.

    Biases, gains and other vectors (whatever their shape), tables of embeddings, and learned
    tokens and queries: the parameters that a model owns itself, outside any layer.
    """
    names: set[str] = set()
    for prefix, part in module.named_modules():
        dot = f"{prefix}." if prefix else ""
        for name, p in part.named_parameters(recurse=False):
            is_vector = p.numel() == max(p.shape, default=1)
            if is_vector or isinstance(part, nn.Embedding | BrainModel):
                names.add(dot + name)
    return names


def adamw(
    module: nn.Module, settings: AdamWSettings, lr_of: Mapping[str, float] | None = None
) -> AdamW:
    """AdamW over the parameters of `module` that require a gradient.

    Parameters
    ----------
    module : whose `named_parameters` are trained
    settings : rates and moments
    lr_of : part of a parameter name -> its own rate; the first that matches counts
        (the codec gives "quantizer" a higher rate, fine-tuning gives "head" one)

    Returns
    -------
    AdamW with one group for each (rate, decay) that occurs, in a fixed order, so that its state
    can be loaded into the same run later.
    """
    plain = undecayed(module)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        own = [rate for part, rate in (lr_of or {}).items() if part in name]
        decay = 0.0 if name in plain else settings.weight_decay
        groups.setdefault((own[0] if own else settings.lr, decay), []).append(p)
    if not groups:
        raise ContractError("nothing to train: every parameter of the model is frozen")
    return AdamW(
        [
            {"params": ps, "lr": lr, "weight_decay": decay}
            for (lr, decay), ps in sorted(groups.items(), key=lambda item: item[0])
        ],
        betas=tuple(settings.betas),
        eps=settings.eps,
    )
