"""BrainTokenizer: any set of EEG and MEG sensors to codes of a few latent sources, and back.

Each channel's window passes a SEANet alone; learned sources then look at all sensors
("backward solution"), are quantised, and sensors look at the sources again ("forward
solution") before a SEANet decoder (arXiv 2505.18185).

Shapes: B batch, C channels, N windows, P samples in a window, F frames in a window,
S latent sources, W = N F steps, D width, Q levels.
"""

from dataclasses import dataclass
from math import log2, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.base import Codec, CodecForward
from brainfm.codecs.losses import normalise_target
from brainfm.codecs.presets import BRAINTOKENIZER, fill_from_preset
from brainfm.codecs.quantize import Quantized, QuantizerConfig, ResidualQuantizer
from brainfm.errors import ContractError
from brainfm.nn.attention import attend
from brainfm.nn.geometry import SensorModule
from brainfm.nn.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from brainfm.signals.preprocess import Preprocess
from brainfm.types import N_KINDS, Codes, SignalBatch


@dataclass(frozen=True)
class BrainTokenizerConfig:
    """Sizes of a BrainTokenizer. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "published"
    window: int | None = None
    """Samples a window: the codec sees each window alone."""
    n_filters: int | None = None
    ratios: tuple[int, ...] | None = None
    """Strides; their product is the samples a code covers (64: 4 codes a second)."""
    kernel: int | None = None
    last_kernel: int | None = None
    dim: int | None = None
    n_sources: int | None = None
    n_heads: int | None = None
    codebook_dim: int | None = None
    codebook_size: int | None = None
    n_quantizers: int | None = None
    dropout: float = 0.0
    n_kinds: int = N_KINDS
    """Rows of the sensor-kind table; 3 in released weights."""
    position: str = "published"
    """"published": centred and scaled per modality; "metric": metres, unknown is a word."""
    linear_path: bool | None = None
    """A linear map of each hop's samples beside the SEANet, in and out. Not published: with it
    slow amplitudes pass undistorted, and short trainings reach twice the correlation
    (docs/benchmarks.md)."""
    rotation_trick: bool = True
    dead_count: float | None = None
    """2 as published; None replaces codes by their share of use (see QuantizerConfig)."""
    init_at_eval: bool = False
    """True in strict mode: k-means at the first forward even at evaluation, as published."""
    exact: bool = False
    """True in strict mode: convolutions to the last bit as published (see SEANetConfig)."""
    drop_share: float = 0.25
    """Share of channels hidden from the encoder while training; at least one, never all."""
    noise: float = 0.1
    """Standard deviation of the noise on the remaining channels while training."""

    def __post_init__(self) -> None:
        fill_from_preset(self, BRAINTOKENIZER)
        if self.window % self.hop:
            raise ValueError(f"window {self.window} is no multiple of the hop {self.hop}")

    @property
    def hop(self) -> int:
        """Samples a code covers."""
        return prod(self.ratios)

    @property
    def seanet(self) -> SEANetConfig:
        return SEANetConfig(
            dim=self.dim,
            n_filters=self.n_filters,
            ratios=self.ratios,
            kernel=self.kernel,
            last_kernel=self.last_kernel,
            exact=self.exact,
        )

    @property
    def quantizer(self) -> QuantizerConfig:
        return QuantizerConfig(
            dim=self.dim,
            codebook_dim=self.codebook_dim,
            codebook_size=self.codebook_size,
            n_levels=self.n_quantizers,
            rotation_trick=self.rotation_trick,
            dead_count=self.dead_count,
            init_at_eval=self.init_at_eval,
        )


def unfold_windows(x_BCT: Tensor, window: int, overlap: float = 0.0) -> Tensor:
    """Cut signals into windows: (B, C, T) -> (B, C, N, P).

    A signal shorter than a window is zero-padded to one. A remainder at the end is dropped
    without overlap and zero-padded with overlap, as published.
    """
    n = x_BCT.shape[-1]
    step = int(window * (1 - overlap))
    if step < 1 or overlap < 0:
        raise ValueError(f"overlap is {overlap}; it must lie in [0, 1) and leave a step")
    short = max(0, window - n)
    if short == 0 and overlap > 0:
        short = -(n - window) % step
    x = F.pad(x_BCT, (0, short)) if short else x_BCT
    return x.unfold(-1, window, step)


class BrainTokenizer(Codec):
    """The codec of BrainOmni.

    Parameters
    ----------
    config : BrainTokenizerConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = BrainTokenizerConfig

    def __init__(
        self, config: BrainTokenizerConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        config = config or BrainTokenizerConfig()
        super().__init__(config, preprocess)
        d = config.dim
        self.sensors = SensorModule(d, config.n_kinds, config.position)
        self.encoder = SEANetEncoder(config.seanet)
        self.source_SD = nn.Parameter(torch.randn(config.n_sources, d))
        self.sensor_key = nn.Linear(d, d)
        self.sensor_value = nn.Linear(d, d)
        self.to_sources = nn.Linear(d, d)
        self.quantizer = ResidualQuantizer(config.quantizer)
        self.source_kv = nn.Linear(d, 2 * d)
        self.to_sensors = nn.Linear(d, d)
        self.decoder = SEANetDecoder(config.seanet)
        if config.linear_path:
            self.patch_in = nn.Linear(config.hop, d, bias=False)
            self.patch_out = nn.Linear(d, config.hop, bias=False)

    # Pieces, on plain tensors.

    def encode_sensors(self, x_BCNP: Tensor) -> Tensor:
        """Each channel's windows alone, before sources look at them: (B, C, N, F, D)."""
        b, c, n, p = x_BCNP.shape
        h_MFD = self.encoder(x_BCNP.reshape(b * c * n, 1, p)).transpose(1, 2)
        h_BCNFD = h_MFD.unflatten(0, (b, c, n))
        return h_BCNFD + self.encode_patches(x_BCNP) if self.config.linear_path else h_BCNFD

    def encode_patches(self, x_BCNP: Tensor) -> Tensor:
        """The linear path alone, where there is one: (B, C, N, F, D)."""
        return self.patch_in(x_BCNP.unflatten(-1, (-1, self.config.hop)))

    def encode_windows(self, x_BCNP: Tensor, sensor_BCD: Tensor, valid_BC: Tensor) -> Tensor:
        """Backward solution: (B, S, N, F, D) source features, before normalisation.

        Invalid channels are invisible. A row without any valid channel is answered as if its
        channels held zeros: finite, and marked invalid by whoever returns features.
        """
        x = torch.where(valid_BC[:, :, None, None], x_BCNP, 0.0)
        return self.sources_of(self.encode_sensors(x), sensor_BCD, valid_BC)

    def sources_of(self, h_BCNFD: Tensor, sensor_BCD: Tensor, valid_BC: Tensor) -> Tensor:
        """Backward solution of `encode_sensors`: (B, S, N, F, D)."""
        b, c, n, f, _ = h_BCNFD.shape
        h_MCD = h_BCNFD.permute(0, 2, 3, 1, 4).reshape(b * n * f, c, -1)
        sensor_MCD = sensor_BCD.repeat_interleave(n * f, 0)
        key_MCD = self.sensor_key(h_MCD + sensor_MCD)
        keep_MC = None
        if not bool(valid_BC.all()):
            keep_BC = valid_BC | ~valid_BC.any(1, keepdim=True)
            keep_MC = keep_BC.repeat_interleave(n * f, 0)
        out_MSD = attend(
            self.source_SD[None],
            key_MCD,
            self.sensor_value(h_MCD),
            self.config.n_heads,
            keep_MC,
            self._dropout,
        )
        return self.to_sources(out_MSD).unflatten(0, (b, n, f)).permute(0, 3, 1, 2, 4)

    def quantise(self, z: Tensor, update: bool | None = None) -> Quantized:
        """L2-normalise once, then quantise; `update` as in `ResidualQuantizer`."""
        return self.quantizer(F.normalize(z.float(), dim=-1), update)

    def decode_windows(self, q_BSNFD: Tensor, sensor_BCD: Tensor) -> Tensor:
        """Forward solution: (B, C, N, P) signals at the given sensors."""
        b, s, n, f, d = q_BSNFD.shape
        c = sensor_BCD.shape[1]
        kv_MSD = self.source_kv(q_BSNFD.permute(0, 2, 3, 1, 4).reshape(b * n * f, s, d))
        key, value = kv_MSD.chunk(2, -1)
        ask_MCD = sensor_BCD.repeat_interleave(n * f, 0)
        out_MCD = attend(ask_MCD, key, value, self.config.n_heads, dropout=self._dropout)
        h_BCNDF = self.to_sensors(out_MCD).unflatten(0, (b, n, f)).permute(0, 3, 1, 4, 2)
        h_MDF = h_BCNDF.reshape(b * c * n, d, f)
        x_M1P = self.decoder(h_MDF)
        if self.config.linear_path:
            x_M1P = x_M1P + self.patch_out(h_MDF.transpose(1, 2)).flatten(1)[:, None]
        return x_M1P.view(b, c, n, -1)

    @property
    def _dropout(self) -> float:
        return self.config.dropout if self.training else 0.0

    # The codec.

    def embed_sensors(self, batch: SignalBatch) -> Tensor:
        """Sensor vectors (B, C, D) of a batch.

        Raises
        ------
        ContractError
            If the batch holds a channel kind the weights have no row for.
        """
        if self.config.n_kinds < N_KINDS and int(batch.kind_BC.max()) >= self.config.n_kinds:
            raise ContractError(
                f"the batch holds channel kind {int(batch.kind_BC.max())}, but these weights know "
                f"kinds 0 to {self.config.n_kinds - 1}; drop those channels or train with n_kinds"
            )
        return self.sensors(batch.pos_BC3, batch.ori_BC3, batch.kind_BC, batch.valid_BC)

    def constants(self, like: SignalBatch) -> dict[str, Tensor]:
        return {"sensor_BCD": self.embed_sensors(like)}

    def encode(
        self, batch: SignalBatch, overlap: float = 0.0, sensor_BCD: Tensor | None = None
    ) -> Codes:
        """Codes of a batch; never trains the codebooks, also not in training mode.

        `sensor_BCD` is that of `embed_sensors`, where it is known.

        Raises
        ------
        ContractError
            If the codebooks were never initialised.
        """
        x_BCNP = unfold_windows(batch.signal_BCT, self.config.window, overlap)
        sensor_BCD = self.embed_sensors(batch) if sensor_BCD is None else sensor_BCD
        z = self.encode_windows(x_BCNP, sensor_BCD, batch.valid_BC)
        q = self.quantise(z, update=False)
        step = int(self.config.window * (1 - overlap))
        hop, (n, f) = self.config.hop, z.shape[2:4]
        start_NF = torch.arange(n)[:, None] * step + torch.arange(f) * hop
        return Codes(
            ids_BSWQ=q.ids.flatten(2, 3),
            latent_BSWD=q.latent.flatten(2, 3),
            time_W=(start_NF.flatten().double() / batch.sfreq).to(z.device),
            duration_s=hop / batch.sfreq,
        )

    def decode(self, codes: Codes, batch: SignalBatch) -> Tensor:
        """Signal (B, C, T) in z-scores at the sensors of `batch`.

        T is the whole windows the codes cover, at most the length of the batch.
        """
        f = self.config.window // self.config.hop
        w = codes.latent_BSWD.shape[2]
        spread = (codes.time_W[1:] - codes.time_W[:-1] - codes.duration_s).abs()
        if w % f or (spread > 1e-6).any():
            raise ContractError(
                f"{w} code steps are not whole windows of {f} without overlap; "
                "encode with overlap=0 to decode"
            )
        q = codes.latent_BSWD.unflatten(2, (-1, f))
        return self.decode_windows(q, self.embed_sensors(batch)).flatten(2)[
            ..., : batch.signal_BCT.shape[-1]
        ]

    def bits_per_second(self, sfreq: float = 256.0) -> float:
        """2304 bit/s for the published sizes, whatever the number of channels."""
        c = self.config
        return c.n_sources * c.n_quantizers * log2(c.codebook_size) * sfreq / c.hop

    @torch.no_grad()
    def initialise_codebooks(self, batch: SignalBatch) -> None:
        """Run k-means on a batch, level by level, where codebooks are still empty."""
        x_BCNP = unfold_windows(batch.signal_BCT, self.config.window)
        z = self.encode_windows(x_BCNP, self.embed_sensors(batch), batch.valid_BC)
        left = F.normalize(z.float(), dim=-1)
        for level in self.quantizer.levels:
            if not level.codebook.is_ready:
                level.codebook.initialise(level.project_in(left).flatten(0, -2))
            left = left - level(left, update=False).latent

    def training_forward(
        self,
        batch: SignalBatch,
        *,
        perm_C: Tensor | None = None,
        noise_BCNP: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> CodecForward:
        """Hide some channels, add noise to the rest, reconstruct all.

        Parameters
        ----------
        batch : SignalBatch
        perm_C : order of channels; the first max(1, floor(0.25 C)) are hidden. Drawn if None
        noise_BCNP : unit normals for the channels that remain. Drawn if None
        generator : source of both draws; default: torch's global one

        Returns
        -------
        CodecForward, channels in the order of `perm_C`
        """
        x = unfold_windows(batch.signal_BCT, self.config.window)
        sensor = self.embed_sensors(batch)
        return self.forward_windows(
            x, sensor, batch.valid_BC, perm_C=perm_C, noise_BCNP=noise_BCNP, generator=generator
        )

    def forward_windows(
        self,
        x_BCNP: Tensor,
        sensor_BCD: Tensor,
        valid_BC: Tensor,
        *,
        perm_C: Tensor | None = None,
        noise_BCNP: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> CodecForward:
        """`training_forward` on windows and sensor vectors."""
        c, device = x_BCNP.shape[1], x_BCNP.device
        # Invalid channels may hold NaN, whose gradient a mask at the loss would not stop.
        x_BCNP = torch.where(valid_BC[:, :, None, None], x_BCNP, 0.0)
        where = generator.device if generator is not None else torch.device("cpu")
        if perm_C is None:
            perm_C = torch.randperm(c, generator=generator, device=where).to(device)
        x, sensor, valid = x_BCNP[:, perm_C], sensor_BCD[:, perm_C], valid_BC[:, perm_C]
        n_hidden = min(max(1, int(self.config.drop_share * c)), c - 1)
        seen = x[:, n_hidden:]
        if noise_BCNP is None:
            where = device if generator is None else where
            noise_BCNP = torch.randn(seen.shape, generator=generator, device=where).to(device)
        z = self.encode_windows(
            seen + self.config.noise * noise_BCNP, sensor[:, n_hidden:], valid[:, n_hidden:]
        )
        q = self.quantise(z, update=self.training)
        rec = self.decode_windows(q.latent, sensor)
        ids = q.ids.flatten(2, 3)
        return CodecForward(rec, normalise_target(x), q.commit, ids, valid)

    def forward(self, batch: SignalBatch) -> CodecForward:
        return self.training_forward(batch)
