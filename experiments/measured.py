"""Transforms that need to know the data, fed from a file of `experiments.measure`."""

from pathlib import Path

import jax
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from tl_jax import transfer
from tl_jax.estimators import nearest_head
from tl_jax.estimators.neighbours import Vote
from tl_jax.tree import matches, unflatten
from tl_jax.types import Array, Transfer

FISHER, MOMENTS, FEATURES = "fisher", "moments", "features"
WHAT = "what"
"""Key of a file's metadata."""
COMMAND = "python -m experiments.measure --what={} --config ... --workdir ..."


def fish_mask(
    scores: str, share: float, where: str = ".*", *, name: str = "fish_mask"
) -> Transfer:
    """`transfer.fish_mask` with the scores of a file, `fisher.safetensors`."""
    found = unflatten(measured(scores, FISHER))
    return transfer.fish_mask(found, share, where, name=name)


def eva(
    moments: str,
    rank: int,
    where: str = ".*",
    alpha: float = 8.0,
    *,
    spare: float = 2.0,
    rate: float = 0.0,
    name: str = "lora",
) -> Transfer:
    """`transfer.eva` with the moments of a file; sites outside `where` get nothing."""
    every = measured(moments, MOMENTS)
    own = {path: every[path] for path in matches(where, every, "eva: where")}
    how = dict(spare=spare, rate=rate, name=name)
    return transfer.eva(None, own, rank, where, alpha, **how)


def knn(
    rows: str,
    k: int = 200,
    vote: Vote = "weighted",
    temperature: float = 0.07,
    *,
    name: str = "neighbours",
) -> Transfer:
    """`estimators.nearest_head` with the rows of a file, `features.safetensors`."""
    found = measured(rows, FEATURES)
    how = dict(k=k, vote=vote, temperature=temperature, name=name)
    return nearest_head(found["features"], found["labels"], **how)


TRANSFORMS = {"fish_mask": fish_mask, "eva": eva, "knn": knn}
"""What a config means by these names."""


def measured(file: str, what: str) -> dict[str, Array]:
    """Path -> array of a file.

    Raises FileNotFoundError with the command that makes it, ValueError for a file
    that is damaged or holds something else.
    """
    path = Path(file).expanduser()
    how = COMMAND.format(what)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {file}; it is made by: {how}")
    try:
        with safe_open(path, "numpy") as opened:
            found = (opened.metadata() or {}).get(WHAT)
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    if found != what:
        raise ValueError(
            f"{file} holds {found or 'something else'}, expected {what}: {how}"
        )
    return jax.device_put(arrays)
