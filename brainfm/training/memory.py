"""Freed memory stays with the process, so that a training step does not fetch it anew.

A step on CPU frees and asks for hundreds of buffers of tens of MB. glibc gives each back to the
system, which then clears every page again: 80,000 page faults and a tenth of the time of a
codec step at its published size (docs/benchmarks.md).
"""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, for the rest of the process; True where that is possible.

    The process then holds the most it ever needed at once. Only glibc has the switch; elsewhere
    nothing happens. Buffers above 1 GiB still come from the system and go back to it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, 2**30) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
