"""Layers of MEG-GPT: over channels at each sample, and over past samples and patches of them.

A key of the time attention is one sample, or a patch of them made into one; queries may be fewer
than keys, so that later layers are shorter (MEG-GPT, arXiv 2510.18080).

Two ways to count what a query may see. "time": everything up to its own sample, within a band of
samples or patches counted back from it. "published": the band is counted from the first query,
and among the newest samples from the number of patches, so that it moves when layers shorten.

Shapes: B batch, L positions, C channels, D width, H heads, N keys, M rows.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = {
    "gelu": F.gelu,
    "silu": F.silu,
    "relu": F.relu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.2),
}


@dataclass(frozen=True)
class LayerConfig:
    """What one layer looks at and how much of it goes on."""

    patch: int = 1
    """Samples that become one key. A patch is seen once it is over."""
    steps_out: int | None = None
    """The last so many positions go on to the next layer; None: all."""
    recent: int | None = 0
    """The last so many positions are also keys of their own; None: all."""
    patch_band: int | None = None
    """Patches a query looks back; None: all."""
    recent_band: int | None = None
    """Positions a query looks back among the recent ones; None: all."""
    over_channels: bool = True
    cross: bool = False
    """Let time ask the channel branch, which runs beside it, instead of following it."""
    channel_keys: int | None = None
    """Mix the list of channels into so many keys; None: channels are keys themselves."""
    channel_mask: bool = False
    """The weights hold a table of which channel may not see which."""

    def lengths(self, n_in: int) -> tuple[int, int, int]:
        """Positions that go on, patches, recent positions, of an input of `n_in`."""
        n_out = n_in if self.steps_out is None else min(self.steps_out, n_in)
        recent = n_in if self.recent is None else min(self.recent, n_in)
        return n_out, n_in // self.patch, recent


def key_times(layer: LayerConfig, n_in: int, device: torch.device | None = None) -> Tensor:
    """(N,) position at which each key is over: patches first, then recent positions."""
    _, n_patches, recent = layer.lengths(n_in)
    ends = (torch.arange(n_patches, device=device) + 1) * layer.patch - 1
    return torch.cat((ends, torch.arange(n_in - recent, n_in, device=device)))


def hidden_keys(
    layer: LayerConfig,
    n_in: int,
    n_out: int,
    reach: str = "time",
    device: torch.device | None = None,
) -> Tensor:
    """(n_out, N) True where a query, one of the last `n_out` positions, may not see a key."""
    _, n_patches, recent = layer.lengths(n_in)
    query = torch.arange(n_in - n_out, n_in, device=device)[:, None]
    patch = torch.arange(n_patches, device=device)
    sample = torch.arange(n_in - recent, n_in, device=device)
    seen = key_times(layer, n_in, device) <= query
    if reach == "published":
        since = query - (n_in - n_out)
        patches_back = (patch - since // layer.patch).abs()
        samples_back = (n_patches + sample - (n_in - recent) - since).abs()
    else:
        patches_back = query // layer.patch - patch
        samples_back = query - sample
    far = n_patches * layer.patch if reach == "published" else n_in
    band = far if layer.patch_band is None else layer.patch_band
    recent_band = far if layer.recent_band is None else layer.recent_band
    near = torch.cat((patches_back <= band, samples_back <= recent_band), 1)
    return ~(seen & near)


def rotate(x_MHLE: Tensor, time_L: Tensor) -> Tensor:
    """Turn the halves of each head's features against each other by an angle that is time."""
    half = x_MHLE.shape[-1] // 2
    rate = 10_000.0 ** (-torch.arange(half, device=x_MHLE.device).float() / half)
    angle = time_L.float()[:, None] * rate
    cos, sin = angle.cos(), angle.sin()
    a, b = x_MHLE[..., :half].float(), x_MHLE[..., half : 2 * half].float()
    turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    return torch.cat((turned, x_MHLE[..., 2 * half :].float()), -1).to(x_MHLE.dtype)


class PatchAttention(nn.Module):
    """Attention whose keys are patches and recent positions; one that sees nothing gets nothing.

    Parameters
    ----------
    patch : positions that become one key
    recent : positions may also be keys of their own
    """

    def __init__(
        self, dim: int, n_heads: int, patch: int = 1, recent: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.n_heads, self.patch, self.dropout = n_heads, patch, dropout
        self.query, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim)
        if patch > 1:
            self.patch_key = nn.Linear(n_heads * patch, n_heads)
            self.patch_value = nn.Linear(n_heads * patch, n_heads)
        if recent:
            self.recent_key, self.recent_value = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def heads(self, x_MLD: Tensor) -> Tensor:
        """(M, H, L, D / H)."""
        return x_MLD.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def patches(self, x_MLD: Tensor, join: nn.Linear) -> Tensor:
        """Mix heads and samples of each patch, one feature of a head at a time: (M, N, D)."""
        whole = x_MLD.shape[1] // self.patch * self.patch
        x = x_MLD[:, :whole].unflatten(1, (-1, self.patch)).unflatten(-1, (self.n_heads, -1))
        x_MNEHP = x.permute(0, 1, 4, 3, 2).flatten(-2)
        return join(x_MNEHP).transpose(-1, -2).flatten(-2)

    def keys_values(self, x_MLD: Tensor, recent: int) -> tuple[Tensor, Tensor]:
        """Keys and values (M, N, D): patches first, then the `recent` last positions."""
        if self.patch > 1:
            key = self.key(self.patches(x_MLD, self.patch_key))
            value = self.value(self.patches(x_MLD, self.patch_value))
        else:
            key, value = self.key(x_MLD), self.value(x_MLD)
        if recent:
            last = x_MLD[:, x_MLD.shape[1] - recent :]
            key = torch.cat((key, self.recent_key(last)), 1)
            value = torch.cat((value, self.recent_value(last)), 1)
        return key, value

    def forward(
        self,
        ask_MLD: Tensor,
        x_MLD: Tensor,
        hide: Tensor | None = None,
        recent: int = 0,
        times: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Queries from `ask`, keys from `x`.

        Parameters
        ----------
        hide : (L, N) or (M, L, N) bool, True where a key is invisible; None: all are seen
        recent : positions at the end of `x` that are keys of their own
        times : of queries and of keys, for rotary codes
        """
        q = self.heads(self.query(ask_MLD))
        k, v = (self.heads(y) for y in self.keys_values(x_MLD, recent))
        if times is not None:
            q, k = rotate(q, times[0]), rotate(k, times[1])
        keep = blind = None
        if hide is not None:
            blind = hide.all(-1, keepdim=True)
            keep = ~hide | blind
            keep, blind = (y if y.ndim == 2 else y[:, None] for y in (keep, blind))
        p = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=p)
        if blind is not None:
            out = out.masked_fill(blind, 0.0)
        return self.out(out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Widen, activate, narrow."""

    def __init__(self, dim: int, inner: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.activate, self.dropout = ACTIVATIONS[activation], dropout
        self.widen, self.narrow = nn.Linear(dim, inner), nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        h = F.dropout(self.activate(self.widen(x)), self.dropout, self.training)
        return self.narrow(h)


class Layer(nn.Module):
    """Channels at each sample, then each channel over time; both before a feed-forward.

    Parameters
    ----------
    layer : LayerConfig
    dim, n_heads, inner, activation, dropout : of all attentions and feed-forwards
    n_channels : length of the channel list, where the layer mixes or masks it
    rope : turn queries and keys by their time
    reach : "time" or "published"; see the head of this file
    """

    def __init__(
        self,
        layer: LayerConfig,
        dim: int,
        n_heads: int,
        inner: int,
        *,
        activation: str = "gelu",
        dropout: float = 0.0,
        n_channels: int | None = None,
        rope: bool = True,
        reach: str = "time",
    ) -> None:
        super().__init__()
        self.config, self.rope, self.reach = layer, rope, reach
        has_recent = layer.recent is None or layer.recent > 0
        if layer.over_channels:
            self.channel_norm = nn.LayerNorm(dim)
            self.over_channels = PatchAttention(dim, n_heads, dropout=dropout)
            self.channel_feed_norm = nn.LayerNorm(dim)
            self.channel_feed = FeedForward(dim, inner, activation, dropout)
            if layer.channel_keys is not None:
                self.channel_mix = nn.Linear(n_channels, layer.channel_keys)
            if layer.channel_mask:
                n_keys = layer.channel_keys or n_channels
                self.register_buffer("hide_CC", torch.zeros(n_channels, n_keys, dtype=torch.bool))
        self.time_norm = nn.LayerNorm(dim)
        self.over_time = PatchAttention(dim, n_heads, layer.patch, has_recent, dropout)
        if layer.cross:
            self.cross = PatchAttention(dim, n_heads, layer.patch, has_recent, dropout)
        self.time_feed_norm = nn.LayerNorm(dim)
        self.time_feed = FeedForward(dim, inner, activation, dropout)

    def attend_channels(self, x_BLCD: Tensor, valid_BC: Tensor | None = None) -> Tensor:
        """The attention over channels alone, (B, L, C, D). Invalid channels are invisible."""
        b, n = x_BLCD.shape[:2]
        ask = self.channel_norm(x_BLCD).flatten(0, 1)
        keys = ask
        if self.config.channel_keys is not None:
            keys = self.channel_mix(ask.transpose(1, 2)).transpose(1, 2)
        hide = self.hide_CC if self.config.channel_mask else None
        if valid_BC is not None and not bool(valid_BC.all()):
            hide_BCC = ~valid_BC[:, None].expand(-1, valid_BC.shape[1], -1)
            hide = hide_BCC.repeat_interleave(n, 0)
        return self.over_channels(ask, keys, hide).unflatten(0, (b, n))

    def attend_time(self, block: PatchAttention, ask: Tensor, keys: Tensor) -> Tensor:
        """One attention over time, of the last positions `ask` to `keys`: (B, L, C, D)."""
        c, (n_out, n_in) = self.config, (ask.shape[1], keys.shape[1])
        recent = c.lengths(n_in)[2]
        hide = hidden_keys(c, n_in, n_out, self.reach, ask.device)
        times = None
        if self.rope:
            query = torch.arange(n_in - n_out, n_in, device=ask.device)
            times = (query, key_times(c, n_in, ask.device))
        ask_M, keys_M = (x.transpose(1, 2).flatten(0, 1) for x in (ask, keys))
        out = block(ask_M, keys_M, hide, recent, times)
        return out.unflatten(0, (ask.shape[0], -1)).transpose(1, 2)

    def parts(self, x_BLCD: Tensor, valid_BC: Tensor | None = None) -> dict[str, Tensor]:
        """Every attention's output, and "out", what goes on to the next layer."""
        c, found = self.config, {}
        n_out = c.lengths(x_BLCD.shape[1])[0]
        mixed = x_BLCD
        if c.over_channels:
            found["channels"] = self.attend_channels(x_BLCD, valid_BC)
            mixed = x_BLCD + found["channels"]
            mixed = mixed + self.channel_feed(self.channel_feed_norm(mixed))
        x = x_BLCD if c.cross else mixed
        keys = self.time_norm(x)
        asked = keys if c.cross else keys[:, keys.shape[1] - n_out :]
        found["time"] = self.attend_time(self.over_time, asked, keys)
        x = x[:, x.shape[1] - asked.shape[1] :] + found["time"]
        if c.cross:
            x = x[:, x.shape[1] - n_out :]
            found["cross"] = self.attend_time(self.cross, x, mixed)
            x = x + found["cross"]
        return found | {"out": x + self.time_feed(self.time_feed_norm(x))}

    def forward(self, x_BLCD: Tensor, valid_BC: Tensor | None = None) -> Tensor:
        return self.parts(x_BLCD, valid_BC)["out"]
