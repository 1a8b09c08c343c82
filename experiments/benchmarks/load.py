"""How busy the machine is beside the process that is being timed."""

import time
from typing import NamedTuple

import psutil

IDLE = ("idle", "iowait")
INSIDE = ("guest", "guest_nice")
"""Counted within user and nice already."""
TICKS = 0.02
"""Seconds by which two clocks of 10 ms may disagree."""


class Sample(NamedTuple):
    """Seconds since some start, each by its own clock."""

    wall: float
    busy: float
    """Of all cores together, time stolen by other machines included."""
    own: float
    """Of the timed process and its children."""


def sample(pid: int) -> Sample:
    """The clocks now."""
    times = psutil.cpu_times()._asdict()
    busy = sum(v for name, v in times.items() if name not in IDLE + INSIDE)
    return Sample(time.perf_counter(), busy, _own(pid))


def _own(pid: int) -> float:
    """CPU seconds of a process, of its children, ended or not."""
    process, total = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            used = one.cpu_times()
        except psutil.NoSuchProcess:  # its seconds are its parent's now
            continue
        total += used.user + used.system
        total += used.children_user + used.children_system
    return total


def foreign(before: Sample, after: Sample) -> float:
    """Cores that everything else used between two samples, on average."""
    wall = max(after.wall - before.wall, 1e-9)
    others = (after.busy - before.busy) - (after.own - before.own)
    return max(others - TICKS, 0.0) / wall
