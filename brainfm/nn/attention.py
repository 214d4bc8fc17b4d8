"""Attention with heads, as BrainTokenizer and BrainOmni use it.

Everything goes through `torch.nn.functional.scaled_dot_product_attention`: the reference
path, which also has a backward on CPU.

Shapes: M rows, L queries, C keys, D width, H heads.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.nn.rope import Rotary


def attend(
    q_MLD: Tensor,
    k_MCD: Tensor,
    v_MCD: Tensor,
    n_heads: int,
    keep_MC: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Multi-head attention of queries to keys.

    Parameters
    ----------
    q_MLD, k_MCD, v_MCD : Tensor; M may be 1 in `q_MLD` where all rows ask the same
    n_heads : int, divides D
    keep_MC : bool Tensor or None; False keys are invisible. At least one key a row is True.
    dropout : probability; the caller decides whether it is active

    Returns
    -------
    Tensor (M, L, D)
    """

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (n_heads, -1)).transpose(-3, -2)

    q = heads(q_MLD.to(v_MCD.dtype).expand(v_MCD.shape[0], -1, -1))
    mask = None if keep_MC is None else keep_MC[:, None, None, :]
    out = F.scaled_dot_product_attention(
        q, heads(k_MCD), heads(v_MCD), attn_mask=mask, dropout_p=dropout
    )
    return out.transpose(-3, -2).flatten(-2)


class SelfAttention(nn.Module):
    """Bidirectional self-attention with optional rotary codes: (M, L, D) -> (M, L, D).

    Parameters
    ----------
    dim, n_heads : width and heads of this branch
    dropout : of the attention weights, while training
    rotary : Rotary or None
    dropout_at_eval : the published program passes its dropout also at evaluation, which
        makes released results stochastic; off unless somebody wants to see that
    """

    def __init__(
        self,
        dim: int,
        n_heads: int,
        dropout: float = 0.0,
        rotary: Rotary | None = None,
        dropout_at_eval: bool = False,
    ) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"width {dim} does not split into {n_heads} heads")
        self.n_heads = n_heads
        self.dropout = dropout
        self.dropout_at_eval = dropout_at_eval
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.rotary = rotary

    def forward(self, x_MLD: Tensor) -> Tensor:
        q, k, v = self.qkv(x_MLD).chunk(3, -1)
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        p = self.dropout if self.training or self.dropout_at_eval else 0.0
        return self.out(attend(q, k, v, self.n_heads, dropout=p))
