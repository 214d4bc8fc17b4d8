"""Codes on the sphere under data parallelism: two processes with halves are one with the whole."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from brainfm.codecs.sphere import SphereCodebook, SphereConfig

CONFIG = SphereConfig(dim=4, size=8, dead_share=None)
STEPS = 4


def _start():
    torch.manual_seed(0)
    book = SphereCodebook(CONFIG)
    z = F.normalize(torch.randn(64, 4), dim=-1)
    book.initialise(z)
    return book, [torch.roll(z, i, -1) for i in range(1, 1 + STEPS)]


def _train_half(rank, port, folder):
    torch.set_num_threads(1)
    book, batches = _start()
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # what ranks draw differs, what they keep must not
    for z in batches:
        book(z.chunk(2)[rank], update=True)
    fresh = SphereCodebook(SphereConfig(dim=4, size=8, dead_share=0.9))
    for z in batches:
        fresh(z.tensor_split([40])[rank], update=True)  # 40 rows here, 24 there
    torch.save({"trained": book.state_dict(), "fresh": fresh.state_dict()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sphere")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(_train_half, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{r}.pt", weights_only=True) for r in range(2)]


@pytest.mark.slow
def test_two_halves_train_the_same_codes_as_the_whole(ranks):
    book, batches = _start()
    for z in batches:
        book(z, update=True)
    for key, want in book.state_dict().items():
        torch.testing.assert_close(ranks[0]["trained"][key], want, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["trained", "fresh"])
def test_all_processes_keep_the_same_codes(ranks, part):
    for key, value in ranks[0][part].items():
        assert torch.equal(value, ranks[1][part][key])
