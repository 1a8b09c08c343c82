"""From a new process to the end of its first step: imports, weights, compiling.

python -m experiments.benchmarks.rows.startup tl_jax
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from experiments.benchmarks import tried
from experiments.benchmarks.kinds import Ready, Row, Side
from experiments.benchmarks.rows import lora

FIRST = {
    "tl_jax": lambda: lora.with_us("float32"),
    "eager": lambda: lora.with_peft(compile=False, dtype="float32"),
    "compiled": lambda: lora.with_peft(compile=True, dtype="float32"),
}
CACHES = ("JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")


def once(who: str) -> dict[str, float]:
    """Import, build, and take the first step: seconds of the parts."""
    start = time.perf_counter()
    if who == "tl_jax":
        import jax

        import tl_jax.algorithms
        import tl_jax.pretrained
        import tl_jax.transfer  # noqa: F401

        jax.devices()
    else:
        import transformers  # noqa: F401
    imported = time.perf_counter()
    FIRST[who]().call()
    return {"imports": imported - start, "the rest": time.perf_counter() - imported}


def fresh(who: str, warm: bool) -> Ready:
    """A call is a whole process, its cache of programs empty or kept."""
    holder = tempfile.TemporaryDirectory(prefix="startup-")
    kept: dict[str, Any] = {}

    def call() -> None:
        with tempfile.TemporaryDirectory(dir=holder.name) as empty:
            folder = os.path.join(holder.name, "kept") if warm else empty
            command = [sys.executable, "-m", __name__, who]
            environment = os.environ | dict.fromkeys(CACHES, folder)
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True
            )
        if done.returncode:
            said = " / ".join(done.stderr.strip().splitlines()[-3:])
            raise RuntimeError(f"{who} ended with {done.returncode}: {said}")
        kept.update(json.loads(done.stdout.splitlines()[-1]))

    def facts() -> dict[str, Any]:
        return {f"seconds of {what}, last call": s for what, s in kept.items()}

    return Ready(call, facts=facts)


def side(name: str, who: str, warm: bool, **more: Any) -> Side:
    """A side whose calls are processes."""
    options = {"who": who, "warm": warm}
    return Side(name, f"{__name__}:fresh", options, **more)


OURS = ("tl_jax, warm cache", "tl_jax, cold cache")
ROWS = (
    Row(
        "startup",
        "Start-up of a LoRA step",
        "A new process imports what it needs, loads the real MiniLM, builds LoRA and "
        "takes the first step; caches of programs are empty (cold) or filled (warm).",
        ours=(side(OURS[0], "tl_jax", True), side(OURS[1], "tl_jax", False)),
        peers=(
            side("PEFT, eager", "eager", True, needs=lora.NEEDS),
            *(
                side(
                    f"PEFT, torch.compile, {'warm' if warm else 'cold'} cache",
                    "compiled",
                    warm,
                    needs=lora.NEEDS,
                    compiler=True,
                    against=OURS[0 if warm else 1],
                )
                for warm in (True, False)
            ),
        ),
        tried=tried.STARTUP,
    ),
)


if __name__ == "__main__":
    from experiments.allocator import keep_memory

    keep_memory()
    print(json.dumps(once(sys.argv[1])))
