"""A SEANet that goes on gives the frames of the whole signal, both ends included."""

from dataclasses import replace

import pytest
import torch

from brainfm.errors import ContractError
from brainfm.nn.seanet import SEANetConfig, SEANetEncoder
from brainfm.nn.seanet_stream import SEANetStream

SMALL = SEANetConfig(dim=16, n_filters=4, ratios=(4, 3, 2), n_lstm=1, n_residual=2)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("t", [24 * 12, 24 * 12 + 5, 30, 2])
def test_pieces_of_any_length_make_the_frames_of_the_whole(causal, shortcut, kernel, t):
    torch.manual_seed(0)
    config = replace(
        SMALL, causal=causal, conv_shortcut=shortcut, kernel=kernel, last_kernel=kernel
    )
    encoder = SEANetEncoder(config).double()
    x_MT1 = torch.randn(3, t, 1, dtype=torch.float64)
    with torch.no_grad():
        whole = encoder(x_MT1.transpose(1, 2)).transpose(1, 2)
    for length in (1, 7, 24, 1000):
        stream = SEANetStream(encoder)
        found = [stream.push(piece) for piece in x_MT1.split(length, 1)]
        found.append(stream.flush())
        torch.testing.assert_close(torch.cat(found, 1), whole)


def test_a_frame_depends_on_nothing_beyond_its_reach():
    torch.manual_seed(0)
    encoder = SEANetEncoder(SMALL).double()
    reach, hop = SEANetStream(encoder).reach, SMALL.hop
    x_MT1 = torch.randn(1, 24 * 12, 1, dtype=torch.float64)

    def frame(x):
        with torch.no_grad():
            return encoder(x.transpose(1, 2))[..., 4]

    first_beyond = 4 * hop + reach
    for where, changes in ((first_beyond, False), (first_beyond - 1, True)):
        other = x_MT1.clone()
        other[:, where] += 1.0
        assert torch.equal(frame(other), frame(x_MT1)) != changes


def test_a_causal_one_reaches_to_the_end_of_its_frame():
    assert SEANetStream(SEANetEncoder(replace(SMALL, causal=True))).reach == SMALL.hop


def test_an_exact_one_is_refused():
    with pytest.raises(ContractError, match="strict"):
        SEANetStream(SEANetEncoder(replace(SMALL, exact=True)))
