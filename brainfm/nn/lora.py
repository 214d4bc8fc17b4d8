"""Low-rank adapters (LoRA, arXiv 2106.09685) through peft: train few numbers, export a plain model.

As published for MVPFormer: rank 8, alpha 16, on queries and values; keys and all else stay.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from brainfm.errors import ContractError

TARGETS = ("query", "value")
"""Linear layers of the attention that are adapted."""


@dataclass(frozen=True)
class LoraSettings:
    """Adapters of a run; the published values."""

    rank: int = 8
    """Of each change of a weight."""
    alpha: float = 16.0
    """Changes count alpha / rank."""
    targets: tuple[str, ...] = TARGETS
    """Last parts of the names of the layers that are adapted."""


Model = TypeVar("Model", bound=nn.Module)


def with_lora(
    model: Model, rank: int = 8, alpha: float = 16.0, targets: Sequence[str] = TARGETS
) -> Model:
    """The same model, in place: everything frozen, and adapters that are trained.

    Fresh adapters change nothing: the result is what it was until they are trained.

    Parameters
    ----------
    rank : of each change of a weight
    alpha : changes count alpha / rank
    targets : last parts of the names of the linear layers to adapt

    Raises
    ------
    ContractError
        If the model has no such layer, or is adapted already.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    who = type(model).__name__
    if any(isinstance(m, BaseTunerLayer) for m in model.modules()):
        raise ContractError(f"{who} has adapters already; merge them first, or go on with them")
    linear = {n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    if absent := sorted(set(targets) - linear):
        raise ContractError(
            f"{who} has no linear layer called {absent}; choose among {sorted(linear)}"
        )
    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), bias="none")
    return inject_adapter_in_model(settings, model)


def merged(model: Model) -> Model:
    """A plain copy with the adapters added to the weights: saved and loaded without peft.

    Every weight of the copy takes a gradient again. A model without adapters is only copied.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    plain = deepcopy(model)
    adapted = [(n, m) for n, m in plain.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, module in adapted:
        module.merge()
        plain.set_submodule(name, module.get_base_layer())
    for module in plain.modules():
        if hasattr(module, "peft_config"):
            del module.peft_config
    return plain.requires_grad_(True)


def is_adapted(model: nn.Module) -> bool:
    """Whether adapters are in it; answers without peft."""
    return any(hasattr(module, "peft_config") for module in model.modules())
