"""The C allocator: keep freed memory instead of giving it back each step."""

import ctypes
import platform
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_memory() -> bool:
    """Tell glibc to keep what it has freed; False where there is no glibc.

    XLA's CPU client maps and unmaps its temporaries every step, which for transformers
    costs up to a third of it in page faults. Programs of many small operations are
    slower this way and resident memory can double, so configs ask for it:
    `allocator = "keep"`. Call it before the first large allocation.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_ARENA_MAX: 1}
    return all(libc.mallopt(option, value) for option, value in settings.items())
