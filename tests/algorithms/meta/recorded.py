"""What learn2learn and plain torch computed (tests/golden/record_meta.py)."""

from functools import cache
from pathlib import Path

import numpy as np

from tl_jax.tree import unflatten
from tl_jax.types import Batch, Params

FILE = Path(__file__).parents[2] / "golden" / "meta.npz"


@cache
def everything() -> dict[str, np.ndarray]:
    """Name -> array, as the head of record_meta.py lists them."""
    with np.load(FILE) as file:
        return dict(file)


def under(prefix: str) -> dict[str, np.ndarray]:
    """Everything below a prefix, by the rest of the name; raises KeyError for none."""
    cut = len(prefix) + 1
    found = {n[cut:]: a for n, a in everything().items() if n.startswith(f"{prefix}/")}
    if not found:
        raise KeyError(f"nothing is recorded below {prefix}")
    return found


def params(prefix: str, dtype: str) -> Params:
    """Recorded weights, rates or gradients as a tree."""
    return unflatten({n: a.astype(dtype) for n, a in under(prefix).items()})


def episodes(of: str, field: str, dtype: str) -> Batch:
    """The recorded tasks of `mlp` or `conv4` as streams [K B ...]."""
    tasks, batch = under(f"{of}/tasks"), {}
    for part in ("support", "query"):
        x, y = tasks[f"{part}_x"].astype(dtype), tasks[f"{part}_y"]
        batch[part] = {
            "inputs": {field: x},
            "labels": y.astype(dtype) if y.dtype.kind == "f" else y,
            "weight": np.ones(x.shape[:2], dtype),
            "index": np.tile(np.arange(x.shape[1]), (len(x), 1)),
        }
    return batch
