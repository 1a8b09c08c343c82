"""A parent that says in clear words why one process of several ended.

Where a process of a run goes away without a word, the service that joins them ends all
others at once, in the middle of whatever they do. No error handler of theirs can speak
then; the parent does.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO

MARK, SPEAK = "TL_JAX_PARENT", "TL_JAX_STDERR"
SERVICE = re.compile(rb"distributed service|coordination service|heartbeat", re.I)
"""What the service writes before it ends a process."""
AGAIN = (
    "Start all processes again with the same command: they go on from the newest "
    "checkpoint."
)


def supervised(environ: Mapping[str, str] = os.environ) -> bool:
    """True in the process that does the work."""
    return MARK in environ


def supervise(failed: int) -> int:
    """Run this command again as a child, pass signals on, and return its exit code.

    Where the child was ended by a signal, say so; `failed` if that was the service's.
    The child has a process group of its own, so that a terminal's Ctrl-C comes once.
    """
    child: subprocess.Popen | None = None

    def pass_on(number: int, frame: object) -> None:
        if child is not None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    own = os.dup(2)
    environ = os.environ | {MARK: str(os.getpid()), SPEAK: str(own)}
    child = subprocess.Popen(
        sys.orig_argv,
        env=environ,
        process_group=0,
        stderr=subprocess.PIPE,
        pass_fds=(own,),
    )
    seen = threading.Event()
    reader = threading.Thread(target=_copy, args=(child.stderr, seen), daemon=True)
    reader.start()
    code = child.wait()
    reader.join(2)  # a process that outlives the child may keep the pipe open
    if code >= 0:
        return code
    print(f"error: {ended_by(-code, seen.is_set())} {AGAIN}", file=sys.stderr)
    return failed if seen.is_set() else 128 - code


def ended_by(number: int, by_service: bool) -> str:
    """What a signal that ended the child says."""
    if number == signal.SIGABRT and by_service:
        return (
            "another process of this run went away or was silent for too long, so this "
            "one was ended."
        )
    name = signal.Signals(number).name
    hint = {signal.SIGKILL: ": out of memory?"}.get(number, "")
    return f"this process was killed by signal {number} ({name}{hint})."


def _copy(pipe: IO[bytes], seen: threading.Event) -> None:
    """Show what the child's libraries write; note when the service speaks."""
    for line in pipe:
        if SERVICE.search(line):
            seen.set()
        os.write(2, line)


def join_parent() -> None:
    """In the child: write to the parent's own stderr, and end with the parent.

    Only what is written past Python goes through the pipe, so that a terminal stays
    one. Once the parent is killed the system kills this child.
    """
    if number := os.environ.pop(SPEAK, ""):
        sys.stderr = os.fdopen(int(number), "w", buffering=1)
    try:
        death = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(death, signal.SIGKILL)
    except (OSError, AttributeError):  # not Linux: the child then ends by itself
        return
    if os.getppid() == 1 and os.environ.get(MARK, "1") != "1":
        os._exit(128 + signal.SIGKILL)  # the parent had gone before that
