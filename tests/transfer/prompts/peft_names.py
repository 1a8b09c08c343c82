"""PEFT's weights of prompts and their encoders by the paths of our plans."""

import re

import numpy as np

from tl_jax.tree import map_with_path

BLOCKS = 2
ENCODERS = {
    r"transform\.0": "patch/prefix/hidden",
    r"transform\.2": "patch/prefix/output",
    **{rf"mlp_head\.{2 * i}": f"patch/p_tuning/mlp/{i}" for i in range(3)},
}
CELL = re.compile(r"lstm_head\.(weight|bias)_(ih|hh)_l(\d)(_reverse)?")
PARTS = {"ih": "input", "hh": "state", "weight": "kernel", "bias": "bias"}


def ours(method: str, theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Path -> array."""
    if method == "prefix":
        rows = theirs["embedding.weight"]
        each = np.split(rows, 2 * BLOCKS, axis=1)
        return {
            f"blocks/{i}/attention/patch/prefix/{part}": each[2 * i + j]
            for i in range(BLOCKS)
            for j, part in enumerate(("keys", "values"))
        }
    rows = {
        "prompt": "embed/patch/prompt/tokens",
        "projected": "patch/prefix/embedding",
    }.get(method, "patch/p_tuning/embedding")
    found = {rows: theirs["embedding.weight"]}
    for name, array in theirs.items():
        if cell := CELL.fullmatch(name):
            kind, gate, layer, back = cell.groups()
            side = "backward" if back else "forward"
            site = f"patch/p_tuning/lstm/{layer}/{side}/{PARTS[gate]}"
            found[f"{site}/{PARTS[kind]}"] = array.T
        elif name != "embedding.weight":
            module, _, kind = name.rpartition(".")
            site = next(p for n, p in ENCODERS.items() if re.fullmatch(n, module))
            found[f"{site}/{PARTS[kind]}"] = array.T
    return found


def filled(params: dict, arrays: dict[str, np.ndarray]) -> dict:
    """The tree with other values at the paths, each of which must be there."""
    left = dict(arrays)

    def value(path, leaf):
        if path not in left:
            return leaf
        assert left[path].shape == leaf.shape, path
        return left.pop(path)

    made = map_with_path(value, params)
    assert not left, f"not in the tree: {sorted(left)}"
    return made
