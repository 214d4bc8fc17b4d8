"""Du-IN: the contacts of one region, 100 ms at a time, to one code, and back.

Contacts are mixed into a few regions, each segment of the mixture becomes a token, a
transformer looks at all tokens of the window, and each token is the nearest of the codes on a
sphere (arXiv 2405.11459).

As published, a subject has a mixing matrix over its own list of contacts; one codec may hold those
of many people by name. By default codecs trained here read the matrix from where the contacts lie,
so that one codec serves any montage; they count codes in training alone, and put a code that nobody
uses back to work.

Shapes: B batch, C channels, T samples, R regions, N tokens, P samples in a token, D width,
K codes, E codebook width.
"""

from dataclasses import dataclass
from math import log2, prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.base import Codec, CodecForward
from brainfm.codecs.duin_layers import (
    Block,
    GeometryMix,
    SegmentConv,
    SubjectMix,
    Upsample,
    time_table,
)
from brainfm.codecs.losses import CodecLoss
from brainfm.codecs.presets import fill_from_preset
from brainfm.codecs.sphere import SphereCodebook, SphereCodes, SphereConfig
from brainfm.errors import ContractError
from brainfm.nn.geometry import SensorModule
from brainfm.signals.preprocess import Preprocess
from brainfm.types import N_KINDS, Codes, SignalBatch, subject_id

DUIN: dict[str, dict[str, Any]] = {
    # 100 ms tokens at 1000 Hz, arXiv 2405.11459; the program's own settings for its sEEG.
    "published": dict(
        window=100,
        n_regions=16,
        filters=(128, 128, 16),
        kernels=(19, 3, 3),
        strides=(10, 1, 1),
        depth=8,
        decoder_depth=4,
        n_heads=8,
        head_dim=64,
        inner=320,
        codebook_size=2048,
        codebook_dim=64,
        up_filters=(128, 128, 128, 128, 16),
        up_kernels=(3, 3, 10, 9, 19),
        up_strides=(1, 1, 10, 1, 10),
    ),
    # Trains in minutes on two CPU cores; tokens of 1/8 s at 256 Hz.
    "demo": dict(
        window=32,
        n_regions=16,
        filters=(64, 64, 16),
        kernels=(9, 3, 3),
        strides=(4, 1, 1),
        depth=3,
        decoder_depth=2,
        n_heads=4,
        head_dim=32,
        inner=256,
        codebook_size=512,
        codebook_dim=32,
        up_filters=(64, 64, 64, 16),
        up_kernels=(3, 8, 9, 9),
        up_strides=(1, 8, 1, 4),
    ),
    # For tests: every code path in milliseconds.
    "test": dict(
        window=16,
        n_regions=6,
        filters=(12, 4),
        kernels=(5, 3),
        strides=(4, 1),
        depth=2,
        decoder_depth=1,
        n_heads=2,
        head_dim=8,
        inner=24,
        codebook_size=24,
        codebook_dim=8,
        up_filters=(12, 6),
        up_kernels=(3, 17),
        up_strides=(1, 16),
    ),
}

MIXES = ("geometry", "subject")


@dataclass(frozen=True)
class DuINConfig:
    """Sizes of a Du-IN codec. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "published"
    window: int | None = None
    """Samples a token covers: 100 ms."""
    mixing: str = "geometry"
    """"geometry": weights from positions; "subject": a matrix a subject, as published."""
    n_channels: int | None = None
    """Length of the list of contacts, the longest one of `subjects`; of "subject" alone, where it
    must be given."""
    n_subjects: int = 1
    """Rows of the mixing table; those of `subjects` where they are named."""
    subjects: tuple[str, ...] = ()
    """People with a matrix each, as "dataset/subject": batches say whose they are (`subject_B`).
    Contacts are known by their place in that person's list. Empty: the caller gives rows."""
    sensor_dim: int = 64
    """Width of the vector that says where a contact lies; of "geometry" alone."""
    n_regions: int | None = None
    filters: tuple[int, ...] | None = None
    kernels: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    depth: int | None = None
    decoder_depth: int | None = None
    n_heads: int | None = None
    head_dim: int | None = None
    inner: int | None = None
    """Width of the feed-forward layers."""
    codebook_size: int | None = None
    codebook_dim: int | None = None
    up_filters: tuple[int, ...] | None = None
    up_kernels: tuple[int, ...] | None = None
    up_strides: tuple[int, ...] | None = None
    dropout: float = 0.2
    """Of attention weights and hidden features, while training; published."""
    commitment: float = 1.0
    decay: float = 0.99
    dead_share: float | None = 0.05
    """Replace a code used less than this share of the mean use. None as published."""
    init_at_eval: bool = False
    """True in strict mode: k-means at the first forward even at evaluation, as published."""
    count_at_eval: bool = False
    """True in strict mode: the counts of codes also move at evaluation, as published."""

    def __post_init__(self) -> None:
        fill_from_preset(self, DUIN)
        if self.mixing not in MIXES:
            raise ValueError(f"mixing is '{self.mixing}'; it must be one of {MIXES}")
        if self.mixing == "subject" and not self.n_channels:
            raise ValueError("mixing 'subject' needs n_channels: the length of its contact list")
        self._name_subjects()
        if prod(self.up_strides) != self.window:
            raise ValueError(f"up_strides {self.up_strides} do not multiply to {self.window}")

    def _name_subjects(self) -> None:
        names = tuple(self.subjects)
        object.__setattr__(self, "subjects", names)
        if not names:
            return
        if self.mixing != "subject":
            raise ValueError(
                f"subjects are named, but mixing is '{self.mixing}'; set it to subject"
            )
        if len(set(names)) != len(names):
            raise ValueError("subjects repeat; name each once")
        if self.n_subjects not in (1, len(names)):
            raise ValueError(
                f"n_subjects is {self.n_subjects}, but {len(names)} are named; leave it out"
            )
        object.__setattr__(self, "n_subjects", len(names))

    @property
    def codebook(self) -> SphereConfig:
        return SphereConfig(
            dim=self.codebook_dim,
            size=self.codebook_size,
            commitment=self.commitment,
            decay=self.decay,
            dead_share=self.dead_share,
            init_at_eval=self.init_at_eval,
            count_at_eval=self.count_at_eval,
        )

    @property
    def dim(self) -> int:
        """Width D of a token: its positions times its filters."""
        n = self.window
        for k, stride in zip(self.kernels, self.strides, strict=True):
            n = n if stride == 1 else (n + 2 * ((k - 1) // 2) - k) // stride + 1
        return n * self.filters[-1]


class SquaredErrorLoss(CodecLoss):
    """Mean squared error over valid channels plus the commitment (arXiv 2405.11459, 2510.18080)."""

    def __call__(
        self, rec: Tensor, target: Tensor, commit: Tensor, valid_BC: Tensor | None = None
    ) -> dict[str, Tensor]:
        error_BC = (rec.float() - target.float()).square().flatten(2).mean(-1)
        error = error_BC.mean()
        if valid_BC is not None:  # not a product: an invalid channel may hold NaN
            error = torch.where(valid_BC, error_BC, 0.0).sum() / valid_BC.sum().clamp_min(1)
        return {"loss": error + commit, "error": error, "commit": commit}


class Contacts(NamedTuple):
    """Whose contacts these are, in the words of the mixing: vectors and validity, or subject."""

    sensor_BCD: Tensor | None
    valid_BC: Tensor
    subject_B: Tensor | None


class RegionEncoder(nn.Module):
    """Contacts to tokens, and tokens through the transformer; codec and encoder both have one."""

    def __init__(self, config: DuINConfig) -> None:
        super().__init__()
        c = self.config = config
        if c.mixing == "subject":
            self.mix: nn.Module = SubjectMix(c.n_subjects, c.n_channels, c.n_regions)
        else:
            self.sensors = SensorModule(c.sensor_dim, N_KINDS, "metric")
            self.mix = GeometryMix(c.sensor_dim, c.n_regions)
        self.segments = SegmentConv(c.window, c.n_regions, c.filters, c.kernels, c.strides)
        self.blocks = nn.ModuleList(
            Block(c.dim, c.n_heads, c.head_dim, c.inner, c.dropout) for _ in range(c.depth)
        )

    def contacts(self, batch: SignalBatch, subject_B: Tensor | None = None) -> Contacts:
        """What the mixing needs of a batch.

        Raises
        ------
        ContractError
            If the list of contacts has another length (where people are named: a longer one), or
            is of nobody it knows.
        """
        c = self.config
        b, n = batch.valid_BC.shape
        if c.mixing == "geometry":
            sensor = self.sensors(batch.pos_BC3, batch.ori_BC3, batch.kind_BC, batch.valid_BC)
            return Contacts(sensor, batch.valid_BC, None)
        if n > c.n_channels or (n < c.n_channels and not c.subjects):
            raise ContractError(
                f"the batch has {n} channels, but this Du-IN mixes a list of {c.n_channels}; "
                "pick that subject's contacts in their order, or train with mixing 'geometry'"
            )
        known = batch.subject_B is not None
        if subject_B is None and c.subjects and (known or len(c.subjects) > 1):
            subject_B = self._named(batch)
        if subject_B is None:
            if c.n_subjects > 1:
                raise ContractError(
                    f"this Du-IN knows {c.n_subjects} subjects; say whose contacts these are "
                    "(subject_B)"
                )
            subject_B = torch.zeros(b, dtype=torch.long, device=batch.valid_BC.device)
        elif int(subject_B.max()) >= c.n_subjects or int(subject_B.min()) < 0:
            raise ContractError(
                f"subject {int(subject_B.max())} was asked for, but this Du-IN knows 0 to "
                f"{c.n_subjects - 1}; give a row of its mixing table"
            )
        return Contacts(None, batch.valid_BC, subject_B)

    def _named(self, batch: SignalBatch) -> Tensor:
        """Row of each window's person in the mixing table, (B,)."""
        names = self.config.subjects
        if batch.subject_B is None:
            raise ContractError(
                f"the batch does not say who was recorded (subject_B), and this Du-IN has matrices "
                f"of {len(names)} people; read windows through brainfm.data, or give subject_B"
            )
        known = torch.tensor([subject_id(s) for s in names], device=batch.subject_B.device)
        match_BS = batch.subject_B[:, None] == known
        if not bool(match_BS.any(1).all()):
            raise ContractError(
                f"somebody in this batch is none of the {len(names)} people that this Du-IN has a "
                f"matrix of ({', '.join(names[:3])}, ...); choose recordings of these, or name "
                "all in `subjects` and train again"
            )
        return match_BS.long().argmax(1)

    def mixed(self, x_BCT: Tensor, of: Contacts) -> Tensor:
        """Regions (B, R, T) of whole tokens: zeros fill the last, and channels that are invalid."""
        x = F.pad(x_BCT, (0, -x_BCT.shape[-1] % self.config.window))
        x = torch.where(of.valid_BC[..., None], x, 0.0)
        if of.subject_B is not None:
            missing = self.config.n_channels - x.shape[1]
            return self.mix(F.pad(x, (0, 0, 0, missing)) if missing else x, of.subject_B)
        return self.mix(x, of.sensor_BCD, of.valid_BC)

    def tokens(self, x_BCT: Tensor, of: Contacts) -> Tensor:
        """Tokens (B, N, D) before the transformer."""
        return self.segments(self.mixed(x_BCT, of))

    def run(self, token_BND: Tensor) -> Tensor:
        """The transformer over tokens, which learn here what time it is."""
        n, d = token_BND.shape[1:]
        h = token_BND + time_table(n, d, token_BND.device).to(token_BND.dtype)
        for block in self.blocks:
            h = block(h)
        return h


class DuIN(Codec):
    """The codec of Du-IN.

    Parameters
    ----------
    config : DuINConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = DuINConfig

    def __init__(
        self, config: DuINConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        c = config or DuINConfig()
        super().__init__(c, preprocess)
        self.encoder = RegionEncoder(c)
        self.project_in = nn.Sequential(
            nn.Linear(c.dim, c.dim), nn.Tanh(), nn.Linear(c.dim, c.codebook_dim)
        )
        self.codebook = SphereCodebook(c.codebook)
        self.code_norm = nn.LayerNorm(c.codebook_dim)
        self.project_out = nn.Linear(c.codebook_dim, c.dim)
        self.decoder = nn.ModuleList(
            Block(c.dim, c.n_heads, c.head_dim, c.inner, c.dropout) for _ in range(c.decoder_depth)
        )
        self.upsample = Upsample(c.dim, c.n_regions, c.up_filters, c.up_kernels, c.up_strides)
        if c.mixing == "subject":
            self.unmix: nn.Module = SubjectMix(c.n_subjects, c.n_channels, c.n_regions, False)
        else:
            self.unmix = GeometryMix(c.sensor_dim, c.n_regions, False)

    # Pieces, on plain tensors.

    def quantise(self, h_BND: Tensor, update: bool) -> SphereCodes:
        """Project, put on the sphere, take the nearest code; float32 also under autocast."""
        with torch.autocast(h_BND.device.type, enabled=False):
            return self.codebook(F.normalize(self.project_in(h_BND.float()), dim=-1), update)

    def decode_regions(self, q_BNE: Tensor) -> Tensor:
        """Codes to the signals of the regions, (B, R, T)."""
        h = self.project_out(self.code_norm(q_BNE))
        h = h + time_table(h.shape[1], h.shape[2], h.device).to(h.dtype)
        for block in self.decoder:
            h = block(h)
        return self.upsample(h)

    def unmixed(self, h_BRT: Tensor, of: Contacts) -> Tensor:
        """Regions to contacts, (B, C, T)."""
        if of.subject_B is not None:
            return self.unmix(h_BRT, of.subject_B)[:, : of.valid_BC.shape[1]]
        return self.unmix(h_BRT, of.sensor_BCD, of.valid_BC)

    # The codec.

    @property
    def n_levels(self) -> int:
        return 1

    def lookup(self, ids_BSWQ: Tensor) -> Tensor:
        return self.codebook.lookup(ids_BSWQ[..., 0])

    def encode(self, batch: SignalBatch, subject_B: Tensor | None = None) -> Codes:
        """Codes of one source and one level; zeros fill the last token.

        Parameters
        ----------
        subject_B : rows of the mixing table; needed where several people have one and are not
            named in `DuINConfig.subjects`
        """
        of = self.encoder.contacts(batch, subject_B)
        q = self.quantise(self.encoder.run(self.encoder.tokens(batch.signal_BCT, of)), False)
        duration_s = self.config.window / batch.sfreq
        n = torch.arange(q.ids.shape[1], device=q.ids.device)
        return Codes(
            q.ids[:, None, :, None], q.latent[:, None], n.double() * duration_s, duration_s
        )

    def decode(self, codes: Codes, batch: SignalBatch, subject_B: Tensor | None = None) -> Tensor:
        """Signal (B, C, T) in the units of the batch, at most as long as the batch."""
        of = self.encoder.contacts(batch, subject_B)
        rec_BCT = self.unmixed(self.decode_regions(codes.latent_BSWD[:, 0]), of)
        return rec_BCT[..., : batch.signal_BCT.shape[-1]]

    def bits_per_second(self, sfreq: float = 1000.0) -> float:
        """110 bit/s as published, whatever the number of channels."""
        return log2(self.config.codebook_size) * sfreq / self.config.window

    @torch.no_grad()
    def initialise_codebooks(self, batch: SignalBatch, subject_B: Tensor | None = None) -> None:
        """Run k-means on a batch where the codebook is still empty."""
        if not self.codebook.is_ready:
            of = self.encoder.contacts(batch, subject_B)
            h = self.encoder.run(self.encoder.tokens(batch.signal_BCT, of))
            z = F.normalize(self.project_in(h.float()), dim=-1)
            self.codebook.initialise(z.flatten(0, 1))

    def training_forward(
        self,
        batch: SignalBatch,
        *,
        subject_B: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> CodecForward:
        """Reconstruct a batch and, in training, move the codes; `generator` has nothing to draw."""
        of = self.encoder.contacts(batch, subject_B)
        q = self.quantise(
            self.encoder.run(self.encoder.tokens(batch.signal_BCT, of)), self.training
        )
        rec_BCT = self.unmixed(self.decode_regions(q.latent), of)
        target_BCT = torch.where(batch.valid_BC[..., None], batch.signal_BCT, 0.0)
        rec_BCT = rec_BCT[..., : target_BCT.shape[-1]]
        return CodecForward(
            rec_BCT[:, :, None],
            target_BCT[:, :, None],
            q.commit,
            q.ids[:, None, :, None],
            batch.valid_BC,
        )

    def forward(self, batch: SignalBatch) -> CodecForward:
        return self.training_forward(batch)
