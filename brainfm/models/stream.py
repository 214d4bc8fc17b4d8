"""From a batch of any kind to a stream of tokens: what was seen, where, by what, when, how long.

Positions are metres in MNI space, whichever frame they came in; a sensor whose place nobody knows
has a learned place of its own. Time stays in seconds on the recording's clock.

Shapes: B batch, C channels, W steps, N = C W tokens, K features, D width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainfm.models.standard import Standard
from brainfm.nn.frames import in_mni
from brainfm.nn.geometry import SensorModule
from brainfm.nn.patches import BoldPatch, FastPatch
from brainfm.nn.regions import N_LOBES, N_PARCELS, centres, lobe_centres, lobe_of, parcel_of
from brainfm.nn.seconds import SpanCode
from brainfm.types import N_KINDS, Kind, SignalBatch, TokenStream

REFERENCES = ("unknown", "none", "average", "linked", "bipolar", "laplacian", "single")
"""What a reference may be called; any other name is read as "single", one electrode."""

SPATIAL = ("channel", "parcel", "lobe")
MET = 200
"""Batches that units of features are taken from."""

TYPICAL_LOG10 = {
    Kind.EEG: -5.0,
    Kind.MAG: -12.3,
    Kind.GRAD: -11.5,
    Kind.ECOG: -4.5,
    Kind.SEEG: -4.5,
    Kind.BOLD: 1.0,
    Kind.EMG: -4.0,
    Kind.ECG: -3.5,
}
"""About the logarithm of a channel's spread in SI units, so that its code begins near zero."""


@dataclass(frozen=True)
class StreamConfig:
    """How recordings become tokens."""

    step_s: float = 1.0
    """Of electrophysiology."""
    slow_hz: float = 20.0
    """Below it the waveform is shown, above it power alone."""
    edges_hz: tuple[float, ...] = (1, 2, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100)
    bold_step_s: float = 20.0
    """Published steps last 11 to 35 s (Brain-JEPA, BrainHarmonix)."""
    bold_points: int = 20
    """One a second, as CortexMAE resamples."""
    bold_resize: str = "data"
    """"data" or "kernel", see `nn.patches.BoldPatch`."""
    spatial: str = "channel"
    """Scale at which a sensor's place is known: "channel" (its own), "parcel" or "lobe" (the centre
    of what it lies in; BaRISTA, arXiv 2512.12135, compares the three)."""
    parcel_dropout: float = 0.5
    """How often the name of a sensor's parcel (or lobe) is withheld while training; 1: always."""
    known_positions: bool = True
    """False: every place is unknown (a control)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges_hz", tuple(float(e) for e in self.edges_hz))
        if self.spatial not in SPATIAL:
            raise ValueError(f"spatial is '{self.spatial}'; it must be one of {SPATIAL}")
        if any(b <= a for a, b in zip(self.edges_hz, self.edges_hz[1:], strict=False)):
            raise ValueError(f"edges_hz {self.edges_hz} do not rise")


class StreamEmbedding(nn.Module):
    """SignalBatch -> TokenStream.

    Parameters
    ----------
    config : StreamConfig
    dim : D
    causal : steps of fMRI see no frame that ends after them
    """

    def __init__(self, config: StreamConfig, dim: int, causal: bool = False) -> None:
        super().__init__()
        c = self.config = config
        self.fast = FastPatch(dim, c.step_s, c.slow_hz, c.edges_hz)
        self.bold = BoldPatch(dim, c.bold_step_s, c.bold_points, c.bold_resize, causal)
        self.fast_unit = Standard(self.fast.n_features)
        self.bold_unit = Standard(self.bold.n_features)
        self.sensor = SensorModule(dim, N_KINDS, "metric")
        self.reference = nn.Embedding(len(REFERENCES), dim)
        self.scale = nn.Linear(1, dim)
        n_regions = N_LOBES if config.spatial == "lobe" else N_PARCELS
        self.region = nn.Embedding(n_regions + 1, dim)
        nn.init.normal_(self.region.weight, std=0.02)
        self.span = SpanCode(dim)
        nn.init.normal_(self.reference.weight, std=0.02)

    def forward(self, batch: SignalBatch) -> TokenStream:
        """Tokens of a batch: all steps of its first channel, then of the second, ..."""
        return self.tokens(batch, self.features(batch))

    def features(self, batch: SignalBatch) -> Tensor:
        """What the sensors showed, standardised, (B, C, W, K); what is not valid shows nothing."""
        patch, unit = self.family(batch)
        z_BCWK = unit(self._measured(batch, patch), batch.kind_BC)
        return torch.where(batch.valid_BC[:, :, None, None], z_BCWK, 0.0)

    def meet(self, batches: Iterable[SignalBatch]) -> None:
        """Mean and spread of features, from the first `MET` batches."""
        for batch in itertools.islice(batches, MET):
            patch, unit = self.family(batch)
            unit.add(self._measured(batch, patch), batch.kind_BC, batch.valid_BC)
        self.fast_unit.learn()
        self.bold_unit.learn()

    def family(self, batch: SignalBatch) -> tuple[FastPatch | BoldPatch, Standard]:
        """The patch encoder of a batch, and the units of its features."""
        if is_bold(batch):
            return self.bold, self.bold_unit
        return self.fast, self.fast_unit

    def _measured(self, batch: SignalBatch, patch: FastPatch | BoldPatch) -> Tensor:
        x_BCT = torch.where(batch.valid_BC[..., None], batch.signal_BCT, 0.0)
        with torch.autocast(x_BCT.device.type, enabled=False):
            return patch.features(x_BCT, batch.sfreq)

    def tokens(self, batch: SignalBatch, features_BCWK: Tensor) -> TokenStream:
        """The stream of channels that showed these features."""
        content_BCWD = self.family(batch)[0](features_BCWK, batch.kind_BC)
        n_batch, n_channels, n_steps, _width = content_BCWD.shape
        pos_BC3, ori_BC3, code_BCD = self.sensors(batch)
        duration_s = batch.seconds / n_steps
        code_BCD = code_BCD + self.span(duration_s, batch.sfreq)
        start_BW = batch.time_BW[:, :1] + duration_s * torch.arange(
            n_steps, dtype=torch.float64, device=content_BCWD.device
        )
        slot_W = torch.arange(n_steps, device=content_BCWD.device)
        n = n_channels * n_steps

        def every_step(value_BC: Tensor) -> Tensor:
            return value_BC.repeat_interleave(n_steps, 1)

        return TokenStream(
            h_BND=content_BCWD.flatten(1, 2),
            time_BN=start_BW.repeat(1, n_channels),
            duration_N=torch.full((n,), duration_s, device=content_BCWD.device),
            slot_N=slot_W.repeat(n_channels),
            kind_BN=every_step(batch.kind_BC),
            pos_BN3=every_step(pos_BC3),
            ori_BN3=every_step(ori_BC3),
            code_BND=every_step(code_BCD),
            valid_BN=every_step(batch.valid_BC),
        )

    def sensors(self, batch: SignalBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Places and directions in MNI space (B, C, 3), and codes (B, C, D), of the sensors."""
        pos_BC3, ori_BC3 = in_mni(batch.pos_BC3, batch.ori_BC3, batch.frame)
        if not self.config.known_positions:
            pos_BC3 = torch.full_like(pos_BC3, torch.nan)
        pos_BC3, region_BC = self._at_scale(pos_BC3)
        code_BCD = self.sensor(pos_BC3, ori_BC3, batch.kind_BC, batch.valid_BC)
        typical = torch.tensor([TYPICAL_LOG10[Kind(k)] for k in range(N_KINDS)])
        usual_BC = typical.to(code_BCD.device)[batch.kind_BC]
        log_BC = batch.scale_BC.double().clamp_min(1e-30).log10().float() - usual_BC
        # A broken scale must not drown the rest.
        code_BCD = code_BCD + self.scale(log_BC.clamp(-3, 3)[..., None].to(code_BCD.dtype))
        name = batch.reference if batch.reference in REFERENCES else "single"
        which = torch.tensor(REFERENCES.index(name), device=code_BCD.device)
        if self.training:
            withheld = torch.rand(region_BC.shape, device=region_BC.device)
            region_BC = torch.where(withheld < self.config.parcel_dropout, -1, region_BC)
        # The last row is for sensors whose region nobody knows, or is not told.
        code_BCD = code_BCD + self.region(region_BC % self.region.num_embeddings)
        return pos_BC3, ori_BC3, code_BCD + self.reference(which)

    def _at_scale(self, pos_BC3: Tensor) -> tuple[Tensor, Tensor]:
        """Places as far as they are told, and the parcel or lobe each lies in (-1: unknown)."""
        region_BC = parcel_of(pos_BC3)
        if self.config.spatial == "channel":
            return pos_BC3, region_BC
        middle_R3 = centres()
        if self.config.spatial == "lobe":
            region_BC, middle_R3 = lobe_of(region_BC), lobe_centres()
        unknown_13 = torch.full((1, 3), torch.nan)
        middle_R3 = torch.cat((middle_R3, unknown_13)).to(pos_BC3)
        return middle_R3[region_BC], region_BC


def is_bold(batch: SignalBatch) -> bool:
    """Whether a batch is fMRI."""
    return bool((batch.kind_BC == Kind.BOLD).any())
