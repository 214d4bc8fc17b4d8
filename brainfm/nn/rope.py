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
        self.mode = mode
        freqs_E = 1.0 / base ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim)
        self.register_buffer("freqs_E", freqs_E, persistent=False)
        self._grow(table_steps)

    def _grow(self, n_steps: int) -> None:
        steps = torch.arange(n_steps, device=self.freqs_E.device, dtype=torch.float32)
        angle_WE = torch.outer(steps, self.freqs_E.float())
        self.register_buffer("cos_WE", angle_WE.cos(), persistent=False)
        self.register_buffer("sin_WE", angle_WE.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate (..., W, D); computed in float32, returned in the dtype of `x`."""
        n_steps = x.shape[-2]
        if n_steps > self.cos_WE.shape[0]:
            self._grow(n_steps)
        cos, sin = self.cos_WE[:n_steps], self.sin_WE[:n_steps]
        pairs = x.float().unflatten(-1, (-1, 2))
        if self.mode == "cosine":
            return (pairs * cos[..., None]).flatten(-2).to(x.dtype)
        real, imag = pairs.unbind(-1)
        turned = torch.stack((real * cos - imag * sin, real * sin + imag * cos), -1)
        return turned.flatten(-2).to(x.dtype)
