"""The other end of a worker: starts it, asks it, says clearly how it failed."""

import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.benchmarks import source
from experiments.benchmarks.accelerator import SETTINGS, Device
from experiments.benchmarks.kinds import Side

TIMEOUT = 1200.0
"""Seconds for one answer; compiling on a busy machine is slow."""
INSTALL = "pip install -e '.[parity]'"


class WorkerError(RuntimeError):
    """A side could not be timed, and why."""


def missing(side: Side) -> str | None:
    """Why a side can't run on this machine, or None."""
    absent = [name for name in side.needs if importlib.util.find_spec(name) is None]
    if absent:
        ways = dict.fromkeys(source.HOWS.get(name, INSTALL) for name in absent)
        return f"{', '.join(absent)} not installed: {'; '.join(ways)}"
    if side.compiler and compiler() is None:
        return "torch.compile needs a C++ compiler, and there is none: install g++"
    return None


def compiler() -> str | None:
    """The C++ compiler that torch.compile would find."""
    return shutil.which(os.environ.get("CXX", "g++"))


def environment(side: Side, cache: Path, device: Device = "cpu") -> dict[str, str]:
    """What a worker runs in: the device, and caches of programs of its own."""
    own = {
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)]),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "torch"),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    return os.environ | SETTINGS[device] | own | dict(side.env)


class Worker:
    """A running side. Use it as a context: leaving it ends the process."""

    def __init__(
        self,
        side: Side,
        cache: Path,
        log: Path,
        timeout: float = TIMEOUT,
        device: Device = "cpu",
    ) -> None:
        self.side, self._log, self._timeout = side, log, timeout
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "experiments.benchmarks.worker", side.build]
        command += [json.dumps(side.options), "--allocator", side.allocator]
        command += ["--device", device, "--framework", side.framework]
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(side, cache, device),
            )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """The answer to one request; raises `WorkerError`."""
        line = json.dumps({"do": do, **more}) + "\n"
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except OSError:
            raise self._died(do) from None
        if not select.select([self.process.stdout], [], [], self._timeout)[0]:
            self.process.kill()
            raise WorkerError(
                f"{self.side.name}: no answer to {do!r} within {self._timeout:g} s"
            )
        answer = self.process.stdout.readline()
        if not answer:
            raise self._died(do)
        reply = json.loads(answer)
        if "error" in reply:
            raise WorkerError(f"{self.side.name}: {reply['error']} (see {self._log})")
        return reply

    def _died(self, do: str) -> WorkerError:
        code = self.process.wait()
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name
            how += ", often for want of memory" if how == "SIGKILL" else ""
        said = self._log.read_text(errors="replace").split("\n")
        last = " / ".join([text for text in said if text.strip()][-3:])
        return WorkerError(
            f"{self.side.name}: its process died during {do!r} ({how}); last words: "
            f"{last or 'none'} (see {self._log})"
        )

    def close(self) -> None:
        """End the process, gently if it listens."""
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
