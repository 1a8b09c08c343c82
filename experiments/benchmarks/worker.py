"""One side of a row in a process of its own: JSON lines in, JSON lines out.

    python -m experiments.benchmarks.worker module:function '{"option": 1}'

Requests are objects with `do`: `warm` (builds, then `calls` calls), `time` (`repeats`
calls -> seconds of one), `rss` (peak memory), `info` (versions, FLOPs, facts). Each
gets one line; one with `error` is the last. The end of the input ends the process.
"""

import argparse
import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.allocator import keep_memory
from experiments.benchmarks import accelerator
from experiments.benchmarks.accelerator import Device
from experiments.benchmarks.kinds import Ready

PACKAGES = {
    **{name: name for name in ("jax", "jaxlib", "optax", "numpy", "torch")},
    **{name: name for name in ("transformers", "peft", "scipy", "learn2learn")},
    "sklearn": "scikit-learn",
}
"""Module -> the package whose version is reported if the worker has loaded it."""
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Server:
    """Answers requests about one side."""

    def __init__(
        self, make: Callable[[], Ready], device: Device = "cpu", framework: str = ""
    ) -> None:
        self._make, self._where = make, (device, framework)
        self._ready: Ready | None = None
        self._first = self._fastest = 0.0
        self._peak = 0.0

    @property
    def ready(self) -> Ready:
        """The work, built by the first request that needs it."""
        if self._ready is None:
            accelerator.prepare(*self._where)
            ready = self._make()
            call = accelerator.waited(ready.call, *self._where)
            self._ready = ready._replace(call=call)
        return self._ready

    def warm(self, calls: int = 3) -> dict[str, Any]:
        """Call untimed; the peak of memory so far is noted and begins anew."""
        taken = [_seconds(self.ready.call) for _ in range(max(calls, 1))]
        self._first, self._fastest = taken[0], min(taken)
        self._peak = max(self._peak, _peak_mb())
        _reset_peak()
        return {"first": self._first, "seconds": self._fastest}

    def time(self, repeats: int = 1) -> dict[str, Any]:
        """Mean seconds of one of `repeats` calls."""
        call = self.ready.call

        def all_of_them() -> None:
            for _ in range(repeats):
                call()

        return {"seconds": _seconds(all_of_them) / repeats}

    def rss(self) -> dict[str, Any]:
        """Peak resident megabytes: of the process's life, and since `warm`.

        On a GPU the peak of its memory, which has no second beginning; of a side
        without a framework that computes there, the process's as ever.
        """
        device, framework = self._where
        if device == "gpu" and framework:
            return {"peak_mb": accelerator.peak_mb(framework)}
        now = _peak_mb()
        return {"peak_mb": max(self._peak, now), "timed_mb": now}

    def info(self) -> dict[str, Any]:
        """What there is to know beside seconds and memory."""
        ready, (device, framework) = self.ready, self._where
        compiled = ready.compile_seconds
        if compiled is None and ready.compiles:
            compiled = self._first - self._fastest
        loaded = [name for name in PACKAGES if name in sys.modules]
        return {
            "flops": ready.flops,
            "compile_seconds": compiled,
            "facts": ready.facts(),
            "versions": {name: version(name) for name in loaded},
            "gpu": accelerator.name(framework) if device == "gpu" and framework else "",
        }


def version(name: str) -> str:
    """Of a loaded module; a source that was never installed says its own."""
    try:
        return metadata.version(PACKAGES[name])
    except metadata.PackageNotFoundError:
        return getattr(sys.modules[name], "__version__", "unknown")


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _peak_mb() -> float:
    """Peak resident size of this process, or of its largest ended child."""
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    if STATUS.is_file():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return max(child, int(line.split()[1]) / 1024)
    unit = 2**20 if sys.platform == "darwin" else 1024
    return max(child, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def _reset_peak() -> None:
    """Let the peak begin anew, where the kernel lets one."""
    try:
        RESET.write_text("5")
    except OSError:
        return


def serve(server: Server, lines: Any, out: Any) -> int:
    """Answer until the input ends; 1 after an error."""
    commands = {"warm": server.warm, "time": server.time}
    commands |= {"rss": server.rss, "info": server.info}
    for line in lines:
        request = json.loads(line)
        try:
            reply = commands[request.pop("do")](**request)
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=out, flush=True)
        if "error" in reply:
            return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Set the allocator, then serve; whatever libraries print goes to stderr."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.worker")
    parser.add_argument("build", help="module:function that returns what to time")
    parser.add_argument("options", nargs="?", default="{}", help="its arguments, JSON")
    parser.add_argument("--allocator", choices=("keep", "system"), default="keep")
    parser.add_argument("--device", choices=accelerator.CHOICES, default="cpu")
    parser.add_argument("--framework", default="", help="jax or torch")
    given = parser.parse_args(argv)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if given.allocator == "keep":
        keep_memory()  # before anything large is allocated
    module, _, function = given.build.partition(":")

    def make() -> Ready:
        found = getattr(importlib.import_module(module), function)
        return found(**json.loads(given.options))

    return serve(Server(make, given.device, given.framework), sys.stdin, out)


if __name__ == "__main__":
    sys.exit(main())
