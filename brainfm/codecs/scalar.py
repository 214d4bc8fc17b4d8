"""ScalarCodec: our own codec of single channels, one set of weights for many bit rates.

Each step of a channel becomes a few coordinates, by a tanh in (-1, 1), and each of them a number
in base `base`, digit by digit: finite scalar quantisation (arXiv 2309.15505) with nested cells. A
level is one digit of one group of coordinates. Levels go diagonally through groups and digits, so
that the first group is the most exact one. Training stops at a random level, which teaches the
network to put what matters first, and tells the decoder where it stopped.

The linear path starts as a cosine transform of each step, slow waves first, so that many levels
are nearly transparent early; at few levels the SEANets spread what is large over all coordinates.

There are no codebooks to place, to move or to revive, and nothing to commit to.

Shapes: T samples, M single channels, F steps, D width, E coordinates, G groups of them, Q levels.
"""

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.channelwise import ChannelCodec
from brainfm.codecs.presets import SCALAR, fill_from_preset
from brainfm.codecs.quantize import Quantized
from brainfm.errors import ContractError
from brainfm.nn.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from brainfm.signals.preprocess import Preprocess

STRETCH = 0.15
"""Of cosine coefficients before the tanh: most of an EEG stays where it is nearly a line, and a
blink bends it."""


@dataclass(frozen=True)
class ScalarCodecConfig:
    """Sizes of a ScalarCodec. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "eeg"
    n_filters: int | None = None
    ratios: tuple[int, ...] | None = None
    """Strides of the decoder, in order; their product is the samples a step covers."""
    kernel: int | None = None
    dim: int | None = None
    base: int | None = None
    """Values of a digit. Odd, and the middle one is zero: few digits then add no noise."""
    group: int | None = None
    """Coordinates in a group; a level costs log2(base) bits for each."""
    n_groups: int | None = None
    n_quantizers: int | None = None
    """Levels of the highest rate."""
    linear_path: bool = True
    """A linear map of each step's samples beside the SEANet, in and out."""
    level_dropout: float = 1.0
    """Share of training channels that stop at a random level; 0 trains the highest rate alone."""
    causal: bool = False

    def __post_init__(self) -> None:
        fill_from_preset(self, SCALAR)
        if self.linear_path and self.dim < self.group * self.n_groups:
            raise ValueError(
                f"dim {self.dim} is less than {self.group} x {self.n_groups} coordinates; widen it"
            )
        if self.base < 2 or self.base**self.group > 2**16:
            raise ValueError(
                f"base {self.base} with {self.group} coordinates a group gives "
                f"{self.base**self.group} codes a level; 2 to {2**16} are possible"
            )
        if self.base ** (1 + max(digit for _, digit in self.schedule)) > 2**22:
            raise ValueError(
                f"n_quantizers {self.n_quantizers} cuts coordinates finer than single precision "
                f"tells apart; take more than {self.n_groups} groups, or fewer levels"
            )
        if not 0 <= self.level_dropout <= 1:
            raise ValueError(f"level_dropout is {self.level_dropout}; it is a share, 0 to 1")

    @property
    def hop(self) -> int:
        """Samples a step covers."""
        return prod(self.ratios)

    @property
    def codebook_size(self) -> int:
        """Different ids of a level."""
        return self.base**self.group

    @property
    def schedule(self) -> tuple[tuple[int, int], ...]:
        """Group and digit of each level, coarse to fine: (0, 0), (0, 1), (1, 0), (0, 2), ..."""
        pairs = ((s - g, g) for s in range(self.n_quantizers) for g in range(self.n_groups))
        return tuple((g, d) for d, g in pairs if d >= 0)[: self.n_quantizers]

    @property
    def seanet(self) -> SEANetConfig:
        return SEANetConfig(
            dim=self.dim,
            n_filters=self.n_filters,
            ratios=self.ratios,
            kernel=self.kernel,
            last_kernel=self.kernel,
            causal=self.causal,
        )


class ScalarQuantizer(nn.Module):
    """Features to nested digits of bounded coordinates, and back."""

    def __init__(self, config: ScalarCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = config.schedule
        n = config.group * config.n_groups
        self.project_in = nn.Linear(config.dim, n)
        self.project_out = nn.Linear(n, config.dim)
        self.stopped = nn.Embedding(config.n_quantizers + 1, config.dim)
        self.trust = nn.Embedding(config.n_quantizers + 1, n)
        nn.init.zeros_(self.stopped.weight)
        nn.init.ones_(self.trust.weight)
        depth = torch.zeros(len(self.levels) + 1, config.n_groups, dtype=torch.long)
        for q, (group, _) in enumerate(self.levels):
            depth[q + 1] = depth[q]
            depth[q + 1, group] += 1
        self.register_buffer("depth_QG", depth, persistent=False)
        self.n_digits = int(depth.max())

    def forward(self, h: Tensor, n: Tensor | None = None, plus: Tensor | None = None) -> Quantized:
        """Quantise (..., D) features; gradients pass straight through.

        Parameters
        ----------
        plus : (..., E) added to the coordinates
        n : levels that the latent is made of, broadcasting with the leading shape; default: all.
            The ids are those of all levels
        """
        with torch.autocast(h.device.type, enabled=False):
            z = self.project_in(h.float())
            z = z if plus is None else z + plus.float()
            finest = self.config.base**self.n_digits
            z = torch.tanh(z)
            cell = ((z.detach() + 1) / 2 * finest).floor().long().clamp(0, finest - 1)
            if n is None:
                n = torch.tensor(len(self.levels), device=h.device)
            value, known = self._value(cell, n)
            through = value + torch.where(known, z - z.detach(), 0.0)
            return Quantized(self._project(through, n), self._ids(cell), h.new_zeros(()))

    def lookup(self, ids: Tensor) -> Tensor:
        """Features of ids (..., Q'); Q' may be fewer than all levels."""
        n = ids.shape[-1]
        if n > len(self.levels):
            raise ContractError(f"these ids have {n} levels, the codec {len(self.levels)}")
        c = self.config
        power_E = c.base ** torch.arange(c.group, device=ids.device)
        cell = ids.new_zeros(*ids.shape[:-1], c.n_groups, c.group)
        for q, (group, digit) in enumerate(self.levels[:n]):
            digits = ids[..., q, None] // power_E % c.base
            cell[..., group, :] += digits * c.base ** (self.n_digits - 1 - digit)
        with torch.autocast(ids.device.type, enabled=False):
            n_levels = torch.tensor(n, device=ids.device)
            value, _ = self._value(cell.flatten(-2), n_levels)
            return self._project(value, n_levels)

    def _value(self, cell: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """Middle of the known part of each finest cell, 0 where nothing is known; and where."""
        c = self.config
        depth = self.depth_QG[n].repeat_interleave(c.group, -1).expand(cell.shape)
        cells = c.base**depth
        coarse = cell // c.base ** (self.n_digits - depth)
        return (2 * coarse + 1 - cells) / cells, depth > 0

    def _ids(self, cell: Tensor) -> Tensor:
        """Digits of finest cells (..., E), packed into one id a level: (..., Q)."""
        c = self.config
        cell = cell.unflatten(-1, (c.n_groups, c.group))
        power_E = c.base ** torch.arange(c.group, device=cell.device)
        ids = []
        for group, digit in self.levels:
            digits = cell[..., group, :] // c.base ** (self.n_digits - 1 - digit) % c.base
            ids.append((digits * power_E).sum(-1))
        return torch.stack(ids, -1)

    def _project(self, value: Tensor, n: Tensor) -> Tensor:
        # A cell's middle is not the mean of what falls into it, least of all in a wide cell.
        return self.project_out(self.trust(n) * value) + self.stopped(n)


class ScalarCodec(ChannelCodec):
    """A codec of single channels whose rate is chosen when it encodes.

    Parameters
    ----------
    config : ScalarCodecConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = ScalarCodecConfig

    def __init__(
        self, config: ScalarCodecConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        config = config or ScalarCodecConfig()
        super().__init__(config, preprocess)
        self.encoder = SEANetEncoder(config.seanet)
        self.quantizer = ScalarQuantizer(config)
        self.decoder = SEANetDecoder(config.seanet)
        if config.linear_path:
            n = config.group * config.n_groups
            self.patch_in = nn.Linear(config.hop, n, bias=False)
            self.patch_out = nn.Linear(config.dim, config.hop, bias=False)
            self._start_linear()

    @torch.no_grad()
    def _start_linear(self) -> None:
        """Cosine transform in, its inverse out, beside what the SEANets add."""
        n, hop = self.patch_in.weight.shape
        k, t = torch.arange(n)[:, None], torch.arange(hop) + 0.5
        waves_EP = torch.cos(torch.pi / hop * k * t) * (2 / hop) ** 0.5
        waves_EP[0] /= 2**0.5
        waves_EP[hop:] = 0.0  # no more waves than samples
        self.patch_in.weight.copy_(STRETCH * waves_EP)
        nn.init.eye_(self.quantizer.project_out.weight)
        nn.init.zeros_(self.quantizer.project_out.bias)
        self.patch_out.weight.zero_()
        self.patch_out.weight[:, :n] = waves_EP.T[:, : self.config.dim] / STRETCH

    def code_channels(self, x_MT: Tensor, n_levels: int | None = None) -> Quantized:
        return self.quantise_steps(self.encode_channels(x_MT), x_MT, n_levels)

    def quantise_steps(self, h_MFD: Tensor, x_MT: Tensor, n_levels: int | None = None) -> Quantized:
        ids = self._quantise(h_MFD, x_MT).ids[..., :n_levels]
        return Quantized(self.lookup(ids), ids, x_MT.new_zeros(()))

    def decode_channels(self, q_MFD: Tensor) -> Tensor:
        x_MT = self.decoder(q_MFD.transpose(1, 2))[:, 0]
        if not self.config.linear_path:
            return x_MT
        return x_MT + self.patch_out(q_MFD).flatten(1)

    def train_channels(
        self, x_MT: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Quantized]:
        """One training pass, each channel from a random number of levels; the ids are all."""
        q = self._quantise(self.encode_channels(x_MT), x_MT, self._stops(x_MT, generator))
        return self.decode_channels(q.latent)[:, : x_MT.shape[-1]], q

    def encode_channels(self, x_MT: Tensor) -> Tensor:
        """Features (M, F, D) beside the linear path, before they are quantised."""
        return self.encoder(x_MT[:, None]).transpose(1, 2)

    def _quantise(self, h_MFD: Tensor, x_MT: Tensor, n: Tensor | None = None) -> Quantized:
        """Quantised features, of the first `n` levels of each channel."""
        plus = None
        if self.config.linear_path:
            hop = self.config.hop
            plus = self.patch_in(F.pad(x_MT, (0, -x_MT.shape[-1] % hop)).unflatten(-1, (-1, hop)))
        return self.quantizer(h_MFD, n, plus)

    def _stops(self, x_MT: Tensor, generator: torch.Generator | None) -> Tensor:
        """Levels each channel is reconstructed from, (M, 1): all, outside training."""
        most, m = self.config.n_quantizers, x_MT.shape[0]
        where = generator.device if generator is not None else torch.device("cpu")
        drawn = torch.randint(1, most + 1, (m, 1), generator=generator, device=where)
        drops = torch.rand(m, 1, generator=generator, device=where) < self.config.level_dropout
        drops &= torch.tensor(self.training, device=where)
        return torch.where(drops, drawn, most).to(x_MT.device)
