"""Codebooks under data parallelism: two processes with halves are one with the whole."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from brainfm.codecs.quantize import QuantizerConfig, ResidualQuantizer

CONFIG = QuantizerConfig(dim=6, codebook_dim=4, codebook_size=8, n_levels=2)
STEPS = 4


def _start():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(CONFIG)
    x = torch.nn.functional.normalize(torch.randn(64, 6), dim=-1)
    quantizer(x, update=True)
    return quantizer, [torch.roll(x, i, -1) for i in range(1, 1 + STEPS)]


def _books(quantizer):
    return {k: v.clone() for k, v in quantizer.state_dict().items() if "codebook" in k}


def _train_half(rank, port, folder):
    torch.set_num_threads(1)
    quantizer, batches = _start()
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # what ranks draw differs, what they keep must not
    for x in batches:
        quantizer(x.chunk(2)[rank], update=True)
    fresh = ResidualQuantizer(CONFIG)
    fresh(batches[0].chunk(2)[rank], update=True)
    torch.save({"trained": _books(quantizer), "fresh": _books(fresh)}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(_train_half, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{r}.pt", weights_only=True) for r in range(2)]


@pytest.mark.slow
def test_two_halves_train_the_same_codebook_as_the_whole(ranks):
    quantizer, batches = _start()
    for x in batches:
        quantizer(x, update=True)
    for key, want in _books(quantizer).items():
        torch.testing.assert_close(ranks[0]["trained"][key], want, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["trained", "fresh"])
def test_all_processes_hold_the_same_codebook(ranks, which):
    for key, mine in ranks[0][which].items():
        assert torch.equal(mine, ranks[1][which][key]), key
