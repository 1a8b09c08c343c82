"""A parent that says in clear words why one process of several ended.

Where a process of a run goes away without a word, the service that joins them ends all
others at once, in the middle of whatever they do. No error handler of theirs can speak
then; the parent does.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

MARK = "TL_JAX_PARENT"
ABORTED = (-signal.SIGABRT, 128 + signal.SIGABRT)


def supervised(environ: Mapping[str, str] = os.environ) -> bool:
    """True in the process that does the work."""
    return MARK in environ


def supervise(failed: int) -> int:
    """Run this command again as a child, pass signals on, and return its exit code.

    Where the child was ended by the service of the processes, say so and return
    `failed`.
    """
    environ = dict(os.environ) | {MARK: str(os.getpid())}
    child = subprocess.Popen(sys.orig_argv, env=environ)

    def pass_on(number: int, frame: object) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    code = child.wait()
    if code in ABORTED:
        print(
            "error: another process of this run went away or was silent for too long, "
            "so this one was ended. Start all processes again with the same command: "
            "they go on from the newest checkpoint.",
            file=sys.stderr,
        )
        return failed
    return code if code >= 0 else 128 - code


def end_with_parent() -> None:
    """Let the system kill this child if its parent is killed."""
    try:
        death = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(death, signal.SIGKILL)
    except (OSError, AttributeError):  # not Linux: the child then ends by itself
        return
