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
        freqs_E = 1.0 / base ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim)
        self.register_buffer("freqs_E", freqs_E, persistent=False)
        self._grow(table_steps)

    @property
    def mode(self) -> str:
        """One of `MODES`; setting it rebuilds the table."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"rope is '{mode}'; it must be one of {MODES}")
        self._mode = mode
        self._grow(len(self.table_WE))

    def _grow(self, n_steps: int) -> None:
        steps = torch.arange(n_steps, device=self.freqs_E.device, dtype=torch.float32)
        angle_WE = torch.outer(steps, self.freqs_E.float())
        table_WE = torch.polar(torch.ones_like(angle_WE), angle_WE)
        if self.mode == "cosine":
            table_WE = torch.complex(table_WE.real, torch.zeros_like(angle_WE))
        self.register_buffer("table_WE", table_WE, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate (..., W, D); computed in float32, returned in the dtype of `x`."""
        n_steps = x.shape[-2]
        if n_steps > self.table_WE.shape[0]:
            self._grow(n_steps)
        table = self.table_WE[:n_steps]
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * table).flatten(-2).to(x.dtype)
