"""The pieces of Du-IN: contacts to regions, segments to tokens, blocks, and tokens to samples.

Sizes and rules: Du-IN (arXiv 2405.11459). `codecs.duin` puts them together into a codec,
`models.duin` into an encoder.

Shapes: B batch, C channels, T samples, R regions, N tokens, P samples in a token, F filters,
D width, H heads, S subjects.
"""

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SubjectMix(nn.Module):
    """One matrix a subject between its list of contacts and the shared regions, as published.

    Parameters
    ----------
    n_subjects, n_channels, n_regions : sizes of the table
    to_regions : which side the bias is on
    """

    def __init__(
        self, n_subjects: int, n_channels: int, n_regions: int, to_regions: bool = True
    ) -> None:
        super().__init__()
        n_in, n_out = (n_channels, n_regions) if to_regions else (n_regions, n_channels)
        self.to_regions = to_regions
        self.weight_SCR = nn.Parameter(torch.randn(n_subjects, n_channels, n_regions) * n_in**-0.5)
        self.bias_SO = nn.Parameter(torch.zeros(n_subjects, n_out))

    def forward(self, x: Tensor, subject_B: Tensor) -> Tensor:
        """(B, C, T) -> (B, R, T), or back."""
        weight_BCR = self.weight_SCR[subject_B]
        rule = "bct,bcr->brt" if self.to_regions else "brt,bcr->bct"
        return torch.einsum(rule, x, weight_BCR) + self.bias_SO[subject_B][..., None]


class GeometryMix(nn.Module):
    """Weights between contacts and regions, read from where each contact lies.

    Any number of channels in any order. Channels whose position nobody knows are averaged.

    Parameters
    ----------
    sensor_dim : width of the sensor vectors (`nn.geometry.SensorModule`)
    n_regions : R
    to_regions : the way; only into regions is there a sum over channels to scale
    """

    def __init__(self, sensor_dim: int, n_regions: int, to_regions: bool = True) -> None:
        super().__init__()
        self.to_regions = to_regions
        self.weight = nn.Linear(sensor_dim, n_regions)

    def forward(self, x: Tensor, sensor_BCD: Tensor, valid_BC: Tensor) -> Tensor:
        """(B, C, T) -> (B, R, T), or back. Invalid channels are invisible."""
        weight_BCR = self.weight(sensor_BCD)
        if not self.to_regions:
            return torch.einsum("brt,bcr->bct", x, weight_BCR)
        weight_BCR = torch.where(valid_BC[..., None], weight_BCR, 0.0)
        n_B = valid_BC.sum(1).clamp_min(1).to(weight_BCR.dtype)
        return torch.einsum("bct,bcr->brt", x, weight_BCR) * n_B.rsqrt()[:, None, None]


class SegmentConv(nn.Module):
    """Convolutions inside each segment of P samples, none across: (B, R, N P) -> (B, N, D).

    Each is followed by a batch normalisation and by no activation, as published. A token is
    its positions one after the other, each with all filters.
    """

    def __init__(
        self,
        window: int,
        n_in: int,
        filters: tuple[int, ...],
        kernels: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.window = window
        widths = (n_in, *filters)
        self.convs = nn.ModuleList(
            nn.Conv1d(widths[i], widths[i + 1], k, stride=s)
            for i, (k, s) in enumerate(zip(kernels, strides, strict=True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in filters)

    def layers(self, x_BRT: Tensor) -> list[Tensor]:
        """Output of every layer, (B N, F, positions)."""
        h = x_BRT.unflatten(-1, (-1, self.window)).transpose(1, 2).flatten(0, 1)
        found = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            (k,), (stride,) = conv.kernel_size, conv.stride
            half = (k - 1) // 2
            pad = (half, k - 1 - half) if stride == 1 else (half, half)
            h = norm(conv(F.pad(h, pad)))
            found.append(h)
        return found

    def forward(self, x_BRT: Tensor) -> Tensor:
        last = self.layers(x_BRT)[-1]
        return last.transpose(1, 2).flatten(1).unflatten(0, (x_BRT.shape[0], -1))


class Upsample(nn.Module):
    """Transposed convolutions over the tokens, no activation, and a map: (B, N, D) -> (B, R, T)."""

    def __init__(
        self,
        dim: int,
        n_out: int,
        filters: tuple[int, ...],
        kernels: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> None:
        super().__init__()
        widths = (dim, *filters)
        convs = []
        for i, (k, stride) in enumerate(zip(kernels, strides, strict=True)):
            pad = ceil((k - stride) / 2)
            convs.append(
                nn.ConvTranspose1d(
                    widths[i],
                    widths[i + 1],
                    k,
                    stride=stride,
                    padding=pad,
                    output_padding=2 * pad - (k - stride),
                )
            )
        self.convs = nn.ModuleList(convs)
        self.out = nn.Linear(filters[-1], n_out)

    def layers(self, h_BND: Tensor) -> list[Tensor]:
        """Output of every convolution, (B, F, length)."""
        h, found = h_BND.transpose(1, 2), []
        for conv in self.convs:
            h = conv(h)
            found.append(h)
        return found

    def forward(self, h_BND: Tensor) -> Tensor:
        last = self.layers(h_BND)[-1]
        return self.out(last.transpose(1, 2)).transpose(1, 2)


def time_table(n_steps: int, dim: int, device: torch.device | None = None) -> Tensor:
    """(N, D) sines and cosines in turn, wavelengths up to 2 pi 10 000 steps."""
    angle = torch.outer(
        torch.arange(n_steps, device=device).float(),
        10_000.0 ** (-torch.arange(0, dim, 2, device=device).float() / dim),
    )
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)[:, :dim]


class Block(nn.Module):
    """Attention and feed-forward, each normalised after its sum; queries and keys a head alone."""

    def __init__(self, dim: int, n_heads: int, head_dim: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.query = nn.Linear(dim, n_heads * head_dim)
        self.key = nn.Linear(dim, n_heads * head_dim)
        self.value = nn.Linear(dim, n_heads * head_dim)
        self.query_norm = nn.LayerNorm(head_dim)
        self.key_norm = nn.LayerNorm(head_dim)
        self.out = nn.Linear(n_heads * head_dim, dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, inner)
        self.narrow = nn.Linear(inner, dim)
        self.feed_norm = nn.LayerNorm(dim)

    def heads(self, h_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised queries and keys, and values: (B, H, N, head)."""
        q, k, v = (
            layer(h_BND).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        return self.query_norm(q).to(v.dtype), self.key_norm(k).to(v.dtype), v

    def attend(self, h_BND: Tensor) -> Tensor:
        """The attention branch alone."""
        p = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(*self.heads(h_BND), dropout_p=p)
        return self.out(out.transpose(1, 2).flatten(2))

    def forward(self, h_BND: Tensor) -> Tensor:
        h = self.attention_norm(h_BND + self.attend(h_BND))
        inner = F.dropout(F.relu(self.widen(h)), self.dropout, self.training)
        return self.feed_norm(h + self.narrow(inner))
