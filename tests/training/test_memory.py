"""A process that keeps what it freed does not ask the system for the same pages again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys

import torch

from brainfm.training.memory import keep_freed_memory

torch.set_num_threads(1)  # a second thread has an arena of its own, which may come in late
if sys.argv[1] == "keep":
    assert keep_freed_memory()


def step():
    # Two at once, and of two sizes: what a step does, and what glibc's own guess misses.
    return [torch.ones(n).mean() for n in (10_000_000, 20_000_000)]


for _ in range(2):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the switch")
def test_steps_after_the_first_find_their_memory() -> None:
    faults = {
        mode: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True
            ).stdout
        )
        for mode in ("keep", "give back")
    }
    # 120 MB five times are 150,000 pages of 4 KiB where every step fetches its own.
    assert faults["give back"] > 5 * faults["keep"]


def test_elsewhere_it_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    from brainfm.training import memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert memory.keep_freed_memory() is False
