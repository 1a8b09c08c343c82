"""Sides for the tests of benchmarks: they sleep, fail or die."""

import os
import time

from experiments.benchmarks.kinds import Ready


def sleeper(seconds: float, flops: float | None = None) -> Ready:
    """Sleeps; prints, as libraries do, what must not reach the answers."""

    def call() -> None:
        print("a word on stdout")
        time.sleep(seconds)

    return Ready(call, flops, 0.5, facts=lambda: {"sleeps": seconds})


def failing() -> Ready:
    """Can't be built."""
    raise ValueError("no such weights")


def dying(code: int = 3) -> Ready:
    """Ends its process at the first call."""

    def call() -> None:
        os.write(2, b"out of something\n")
        os._exit(code)

    return Ready(call)


def dying_later(calls: int) -> Ready:
    """Ends its process after some calls."""
    left = [calls]

    def call() -> None:
        left[0] -= 1
        if left[0] < 0:
            os._exit(1)

    return Ready(call)


def killed() -> Ready:
    """Is killed, as for want of memory."""
    return Ready(lambda: os.kill(os.getpid(), 9))
