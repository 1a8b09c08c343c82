"""What the tests of vision weights share: recorded values, runs, comparisons."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tl_jax import data
from tl_jax.pretrained import files

TOLERANCE = 2e-5


def distance(found, expected) -> float:
    """max|difference| / max|expected|."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def values_of(golden: Path, name: str) -> dict[str, np.ndarray]:
    """What was recorded for one model."""
    with np.load(golden / "vision.npz") as file:
        own = [key for key in file if key.startswith(f"{name}/")]
        return {key.split("/", 1)[1]: file[key] for key in own}


def run(found, image, **options):
    """(outputs, stats) of one compiled forward pass."""

    def apply(params, stats, image):
        return found.model.apply(params, stats, {"image": image}, **options)

    return jax.jit(apply)(found.params, found.stats, image)


def photographs(preprocess) -> np.ndarray:
    """scikit-learn's two sample photographs, through a pipeline. [2 H W 3]."""
    from sklearn.datasets import load_sample_images

    fitted = [preprocess.fit(image) for image in load_sample_images().images]
    return np.asarray(preprocess({"image": np.stack(fitted)})["image"])


def catalogued(name: str, count: int, preprocess) -> np.ndarray:
    """Pictures of a data set, far apart in it, through a pipeline. [count H W 3].

    Skips where the data set is neither cached nor to be had.
    """
    try:
        column = data.load(name).inputs["image"]
    except OSError as error:
        pytest.skip(f"{name} is not to be had: {error}")
    rows = np.linspace(0, data.sources.rows_of(column) - 1, count).astype(int)
    held = isinstance(column, np.ndarray)
    fitted = [preprocess.fit(column[r] if held else column.at(r)) for r in rows]
    return np.asarray(preprocess({"image": np.stack(fitted)})["image"])


def best(logits, count: int = 5) -> list:
    """The classes of the largest logits, in their order. [B C] -> [B 5]."""
    return np.argsort(-np.asarray(logits), 1)[:, :count].tolist()


def agrees(outputs, expected: dict, places: dict[int, int]) -> float:
    """The largest distance; `places` maps their number of a hidden state to ours."""
    far = [
        distance(outputs.hidden[ours], expected[f"hidden/{theirs}"])
        for theirs, ours in places.items()
    ]
    if "logits" in expected:
        far.append(distance(outputs.logits, expected["logits"]))
    assert ("logits" in expected) == (outputs.logits is not None)
    assert max(far) <= TOLERANCE, far
    return max(far)


def same_files(a: Path, b: Path) -> None:
    """Names, shapes, dtypes and bytes of every tensor, and the config."""
    first, second = (dict(files.read(files.scan(folder))) for folder in (a, b))
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.shape == second[name].shape, name
        assert array.dtype == second[name].dtype, name
        assert array.tobytes() == second[name].tobytes(), name
    assert files.read_config(a) == files.read_config(b)
