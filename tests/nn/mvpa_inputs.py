"""Random inputs of the multi-variate parallel attention, small and seeded."""

from dataclasses import fields

import torch
from torch import Tensor

from brainfm.nn.mvpa import MVPAInputs, by_distance, list_order


def inputs(t=14, c=3, heads=4, groups=2, width=8, relation=None, s=None, **settings):
    """Two windows; `s` segments of keys, `dtype` and `device` as told."""
    dtype, device = settings.pop("dtype", torch.float32), settings.pop("device", "cpu")
    s, g = s or t, torch.Generator().manual_seed(t * 100 + c)

    def draw(*shape):
        values = torch.randn(*shape, generator=g, dtype=torch.float64).to(device, dtype)
        return values.requires_grad_()

    relation = list_order(c) if relation is None else relation
    n_relations = relation.shape[-1] if relation.is_floating_point() else c
    return MVPAInputs(
        draw(2, heads, t, c, width),
        draw(2, groups, s, c, width),
        draw(2, groups, s, c, width),
        draw(heads, s, width),
        draw(heads, n_relations, width),
        relation.to(device),
        draw(heads, width),
        draw(heads, width),
        draw(heads, width),
        **{"window": 4, **settings},
    )


def leaves(x):
    """Every tensor that takes a gradient."""
    values = [getattr(x, f.name) for f in fields(x)]
    return [v for v in values if isinstance(v, Tensor) and v.requires_grad]


def spread(c, n_relations=6):
    """(1, C, C, R) relations of random places, one of them unknown."""
    pos = torch.randn(c, 3, generator=torch.Generator().manual_seed(5)) * 0.03
    pos[-1] = float("nan")
    return by_distance(pos[None], n_relations, 0.08)
