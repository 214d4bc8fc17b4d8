"""The CTC head: the loss of all paths, what fits into the frames, and a toy that is learned."""

import itertools

import pytest
import torch

from brainfm.errors import ContractError
from brainfm.heads.ctc import CTC, CTCConfig, frame_labels
from brainfm.speech.search import greedy
from brainfm.types import Features


def features(h_BSWD):
    b, s, w, _ = h_BSWD.shape
    return Features(
        h_BSWD, torch.ones(b, s, dtype=torch.bool), torch.arange(w).double() / 50, 1 / 50
    )


def head(**given):
    torch.manual_seed(0)
    sizes = {"dim": 6, "n_symbols": 4, "hidden": 8, "dropout": 0.0, **given}
    return CTC(CTCConfig(**sizes))


def noise(b=2, s=3, w=5, d=6):
    return features(torch.randn(b, s, w, d, generator=torch.Generator().manual_seed(1)))


def test_frames_are_log_probabilities():
    logp = head()(noise()).logits_BK
    assert logp.shape == (2, 5, 4)
    torch.testing.assert_close(logp.exp().sum(-1), torch.ones(2, 5))


def test_the_loss_is_that_of_all_paths_by_symbol():
    model, said = head(), torch.tensor([[1, 1, -1], [2, 3, 1]])
    out = model(noise(), said)
    expected = []
    for b, target in enumerate([(1, 1), (2, 3, 1)]):
        p = 0.0
        for path in itertools.product(range(4), repeat=5):
            joined = tuple(k for k, _ in itertools.groupby(path) if k)
            if joined == target:
                p += out.logits_BK[b, range(5), path].sum().exp()
        expected.append(-p.log() / len(target))
    torch.testing.assert_close(out.losses["ctc"], torch.stack(expected).mean())


def test_a_toy_sequence_is_learned():
    g = torch.Generator().manual_seed(2)
    said = torch.tensor([[1, 2, 3, 1], [3, 3, 2, -1], [2, 1, -1, -1]])
    shown = torch.randn(4, 6, generator=g)
    h = 0.1 * torch.randn(3, 2, 16, 6, generator=g)
    for b, row in enumerate(said.tolist()):
        for i, k in enumerate(k for k in row if k > 0):
            h[b, :, 4 * i : 4 * i + 2] += shown[k]
    model = head()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model(features(h), said).losses["ctc"]
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    found = [greedy(logp) for logp in model(features(h)).logits_BK.detach()]
    assert found == [[k for k in row if k > 0] for row in said.tolist()]


def test_more_symbols_than_frames_are_refused_with_both_numbers():
    said = torch.tensor([[1, 2, 3, -1], [1, 2, 2, 2]])
    with pytest.raises(ContractError, match="window 1 .* 4 symbols.* 6 frames, but it has 5"):
        head()(noise(), said)
    assert head(per_step=2)(noise(), said).losses["ctc"].isfinite()
    assert head(zero_infinity=True)(noise(), said).losses["ctc"].isfinite()


@pytest.mark.parametrize(
    ("said", "named"),
    [([[4, -1]], "symbol 4"), ([[0, 1]], "symbol 0"), ([[-1, 2]], "symbol -1"), ([[-2]], "-2")],
)
def test_symbols_that_the_head_does_not_know_are_refused(said, named):
    with pytest.raises(ContractError, match=f"{named}.*knows 1 to 3"):
        head()(noise(b=1), torch.tensor(said))


def test_a_window_in_which_nothing_was_said_teaches_the_blank():
    model = head()
    out = model(noise(b=1), torch.full((1, 2), -1))
    torch.testing.assert_close(out.losses["ctc"], -out.logits_BK[0, :, 0].sum())


def test_frames_are_named_after_what_is_said_in_them():
    said = torch.tensor([[2, 1], [3, -1]])
    span = torch.tensor([[[0.02, 0.06], [0.08, 0.12]], [[0.0, 0.03], [torch.nan, torch.nan]]])
    seconds = (torch.arange(7) + 0.5) / 50
    assert frame_labels(said, span, seconds).tolist() == [
        [0, 2, 2, 0, 1, 1, -1],
        [3, -1, -1, -1, -1, -1, -1],
    ]


def test_the_loss_of_frames_is_their_cross_entropy():
    model, said = head(), torch.tensor([[1, 2], [3, -1]])
    span = torch.tensor([[[0.0, 0.04], [0.06, 0.08]], [[0.02, 0.06], [torch.nan, torch.nan]]])
    out = model(noise(), said, span)
    names = [[1, 1, 0, 2], [0, 3, 3]]
    logp = [out.logits_BK[b, n, k] for b, row in enumerate(names) for n, k in enumerate(row)]
    torch.testing.assert_close(out.losses["frames"], -torch.stack(logp).mean())
    assert set(model(noise(), said).losses) == {"ctc"}
