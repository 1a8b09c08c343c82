"""Dry runs for eight devices; prints what the test beside it looks at.

Arguments: a folder with a tiny BERT.
"""

import io
import json
import re
import resource
import sys
from pathlib import Path

import jax
from ml_collections import ConfigDict
from rich.console import Console

jax.config.update("jax_num_cpu_devices", 8)

from configs import finetune  # noqa: E402
from experiments.dry_run import dry_run  # noqa: E402

FREEZE = {"transform": "freeze", "where": ".*"}
HEAD = {"transform": "rate", "where": "head/.*", "value": 1.0}
STRATEGIES = {
    "full": {"rate": 1e-3},
    "averaged": {"rate": 1e-3, "average": 0.9},
    "head": {"rate": 1e-3, "plan": (FREEZE, HEAD)},
}


def arguments(model, axes, task="classification", run=tuple(STRATEGIES)):
    """Strategy -> bytes of arguments a device."""
    config = finetune.get_config("full")
    config.model.spec, config.mesh.axes, config.task = model, axes, task
    config.data.length, config.batch_size = 16, 16
    config.steps, config.eval_batch_size = 10, 16
    config.strategies = ConfigDict(STRATEGIES)
    config.run = ",".join(run)
    found = dry_run(config, Console(file=io.StringIO()), classes=5)
    return {n: own.arguments for n, own in zip(run, found, strict=True)}


def large():
    """4 GB of weights, three times that with moments."""
    config = finetune.get_config("full")
    config.model.spec, config.mesh.axes = "shape:llama-1b", "fsdp"
    config.model.stack = config.model.remat = True
    config.steps = 10
    dry_run(config, Console(file=io.StringIO()))


def peak():
    """Bytes held at most; what `getrusage` says counts the parent's before `exec`."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])


if __name__ == "__main__":
    results = {}
    for axes in ("data", "fsdp"):
        results[axes] = arguments(sys.argv[1], axes)
    for task in ("regression", "multilabel", "tokens", "span"):
        results[task] = arguments(sys.argv[1], "data", task, ("full",))
    large()
    results["live"] = sum(leaf.nbytes for leaf in jax.live_arrays())
    results["resident"] = peak()
    print(json.dumps(results))
