"""Rotary time codes as BrainOmni uses them: one band of frequencies across all heads.

The frequencies span the whole width and are split over heads afterwards, so heads see
different time scales (head 0 the fastest). Adjacent values form a complex pair.

Shapes: W steps, D width, E = D / 2 pairs.
"""

import torch
from torch import Tensor, nn

MODES = ("real", "cosine")


class Rotary(nn.Module):
    """Rotate adjacent pairs of features by an angle that grows with time.

    Parameters
    ----------
    dim : even width of the features, all heads together
    mode : "real" rotates. "cosine" multiplies by the cosine alone: released BrainOmni
        checkpoints lost the sine of their table, and reproduce their results only so.
    base : slowest wavelength is about 2 pi `base` steps
    table_steps : steps for which the table is built; it grows when a longer input comes
    """

    def __init__(
        self, dim: int, mode: str = "real", base: float = 10_000.0, table_steps: int = 240
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"rope is '{mode}'; it must be one of {MODES}")
        self._mode = mode
        self.freqs_E = 1.0 / base ** (
            torch.arange(0, dim, 2, device="cpu")[: dim // 2].float() / dim
        )
        # No buffers: `module.to(torch.bfloat16)` and DeepSpeed cast those, which drops the
        # imaginary part (so did released checkpoints lose their sine).
        self.table_WE = self._table(table_steps, torch.device("cpu"))

    @property
    def mode(self) -> str:
        """One of `MODES`; setting it rebuilds the table."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"rope is '{mode}'; it must be one of {MODES}")
        self._mode = mode
        self.table_WE = self._table(len(self.table_WE), self.table_WE.device)

    def _table(self, n_steps: int, device: torch.device) -> Tensor:
        angle_WE = torch.outer(torch.arange(n_steps, device="cpu").float(), self.freqs_E)
        table_WE = torch.polar(torch.ones_like(angle_WE), angle_WE)
        if self.mode == "cosine":
            table_WE = torch.complex(table_WE.real, torch.zeros_like(angle_WE))
        return table_WE.to(device)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate (..., W, D); computed in float32, returned in the dtype of `x`."""
        n_steps = x.shape[-2]
        if n_steps > self.table_WE.shape[0] or self.table_WE.device != x.device:
            self.table_WE = self._table(max(n_steps, self.table_WE.shape[0]), x.device)
        table = self.table_WE[:n_steps]
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * table).flatten(-2).to(x.dtype)
