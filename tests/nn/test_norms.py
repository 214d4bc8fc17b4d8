"""RMSNorm: the formula, and float32 inside."""

import torch

from brainfm.nn.norms import RMSNorm


def test_rows_come_out_with_unit_power_times_the_weight():
    norm = RMSNorm(8)
    norm.weight.data.fill_(3.0)
    out = norm(100 * torch.randn(5, 8))
    torch.testing.assert_close(out.square().mean(-1).sqrt(), torch.full((5,), 3.0))


def test_half_precision_in_half_precision_out():
    x = torch.randn(5, 8).bfloat16()
    out = RMSNorm(8)(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, RMSNorm(8)(x.float()).bfloat16())
