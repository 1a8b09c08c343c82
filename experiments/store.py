"""What a run leaves on disk: checkpoints, weights, predictions, the result."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.evaluate import Predicted
from experiments.versions import versions
from tl_jax.checkpoint import write_atomic
from tl_jax.tree import diff, flatten, map_with_path, no_match, same_bytes
from tl_jax.types import Frozen, Key, Plan, State

MODEL = "model.safetensors"
RESULT = "result.json"


def save(
    saved: Any,
    place: Any,
    state: State,
    kept: dict[str, dict[str, Any]],
    score: float | None,
    config: ConfigDict,
    source: dict,
    key: Key,
) -> None:
    """Write a checkpoint behind the computation.

    It holds the state and the frozen leaves of `kept` (`own_leaves`); beside them where
    the run is, its key, the config, versions, and which base that was.
    """
    meta = {
        "phase": place.phase,
        "starts": list(place.starts),
        "known": place.known._asdict(),
        "step": place.step,
        "streams": {"train": place.step},
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "frozen": {name: list(leaves) for name, leaves in kept.items()},
        "base": {name: source[name] for name in ("spec", "hash")},
        "config": json.loads(config.to_json_best_effort()),
        "versions": versions(),
    }
    saved.save(place.step, {"state": state, "frozen": kept}, meta, score)


def own_leaves(frozen: Frozen, paths: dict[str, list[str]]) -> dict[str, dict]:
    """Player -> `{path: leaf}` of the frozen leaves at some paths."""
    found = {name: flatten(leaves) for name, leaves in frozen.items()}
    return {name: {p: found[name][p] for p in own} for name, own in paths.items()}


def restore(
    saved: Any, step: int, state: State, frozen: Frozen
) -> tuple[State, Frozen]:
    """State and frozen leaves of a checkpoint, in the structure of those given."""
    wanted = own_leaves(frozen, saved.meta(step)["frozen"])
    kept = saved.restore({"state": state, "frozen": wanted}, step).tree
    frozen = {
        name: map_with_path(
            lambda path, leaf, own=kept["frozen"][name]: own.get(path, leaf), leaves
        )
        for name, leaves in frozen.items()
    }
    return kept["state"], frozen


def save_model(
    folder: Path, plan: Plan, base: dict, source: dict, player: str = "model"
) -> None:
    """Write a player's final weights, less what is in the base, as safetensors.

    Batch-norm statistics stand under `stats/`; the base's spec and hash in the header.
    """
    from safetensors.numpy import save as encode

    own = diff(plan.params, base) | flatten({"stats": plan.stats})
    arrays = {path: np.asarray(leaf, order="C") for path, leaf in own.items()}
    # One entry: safetensors writes several in no fixed order.
    header = json.dumps({"spec": source["spec"], "hash": source["hash"]})
    write_atomic(folder / f"{player}.safetensors", encode(arrays, {"base": header}))


def saved_bytes(folder: Path) -> int:
    """Size of all players' weights that a run wrote."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def read_model(
    folder: Path, player: str = "model"
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays that a finished run wrote, and `spec` and `hash` of its base.

    Raises FileNotFoundError if it has not ended, ValueError for a damaged file.
    """
    from safetensors import SafetensorError, safe_open

    file = folder / f"{player}.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has no {file.name}: the run has not ended")
    try:
        with safe_open(file, framework="np") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            header = (opened.metadata() or {}).get("base", "{}")
            return arrays, json.loads(header)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is damaged: {error}; run the study anew") from None


def head_width(folder: Path) -> int | None:
    """How wide the head of a finished run's model is; None where it has none.

    Raises as `read_model` does.
    """
    kernel = read_model(folder)[0].get("head/kernel")
    return None if kernel is None else kernel.shape[-1]


def load_model(
    folder: Path, plan: Plan, base: dict, source: dict, player: str = "model"
) -> Plan:
    """`plan` with the weights of a player that a finished run wrote.

    `base` and `source` are those that `save_model` got. Raises FileNotFoundError if
    the run has not ended, ValueError for another base, `NoMatch` or ValueError for
    leaves that the plan has not, that nobody has, or of another shape.
    """
    arrays, header = read_model(folder, player)
    file = folder / f"{player}.safetensors"
    if header.get("hash") != source["hash"]:
        raise ValueError(
            f"{file} was trained from weights of hash {header.get('hash')}, "
            f"but {source['spec']!r} now holds {source['hash']}; give back the folder "
            "that was used then"
        )
    known = flatten(plan.params) | flatten({"stats": plan.stats})
    for path, leaf in arrays.items():
        if path not in known:
            raise no_match(f"{file}: leaf", path, known)
        if leaf.shape != np.shape(known[path]):
            raise ValueError(
                f"{file}: {path!r} is {leaf.shape}, the plan's {np.shape(known[path])}"
            )

    given = flatten(base)
    for path, leaf in flatten(plan.params).items():
        if path not in arrays and not (path in given and same_bytes(leaf, given[path])):
            raise ValueError(f"{file} lacks {path!r}, which the base has not")

    def choose(path: str, leaf: Any) -> Any:
        return jax.numpy.asarray(arrays[path]) if path in arrays else leaf

    params = map_with_path(choose, plan.params)
    stats = map_with_path(lambda p, leaf: choose(f"stats/{p}", leaf), plan.stats)
    return plan._replace(params=params, stats=stats)


def save_predictions(folder: Path, found: Predicted, chosen: np.ndarray) -> None:
    """Rows, labels, logits and decisions of the test split, for paired tests."""
    import io

    file = io.BytesIO()
    np.savez_compressed(
        file,
        index=found.index,
        labels=found.labels,
        logits=found.logits,
        predictions=chosen,
    )
    write_atomic(folder / "predictions.npz", file.getvalue())


def finish(folder: Path, result: dict[str, Any], *, keep: bool) -> None:
    """Write the result; then drop what only served to resume, unless `keep`."""
    text = json.dumps(result, indent=1, allow_nan=True)
    write_atomic(folder / RESULT, text + "\n")
    if not keep:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def ended(folder: Path) -> bool:
    """True if the run wrote its result."""
    return (folder / RESULT).is_file()


def read_result(folder: Path) -> dict[str, Any] | None:
    """What the run wrote at its end, or None."""
    return json.loads((folder / RESULT).read_text()) if ended(folder) else None
