"""What the tests share: tiny models, the real MiniLM, and compiled programs kept."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tl_jax import pretrained
from tl_jax.types import Pretrained

GOLDEN = Path(__file__).parent / "golden"


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs between runs, below the user's cache."""
    cache = os.environ.get("TL_JAX_CACHE", Path.home() / ".cache" / "tl_jax")
    jax.config.update("jax_compilation_cache_dir", str(Path(cache) / "xla-tests"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of recorded references."""
    return GOLDEN


@pytest.fixture(scope="session")
def recorded() -> dict[str, np.ndarray]:
    """`<model>/<what>` -> what transformers computed for the tiny models."""
    with np.load(GOLDEN / "bert.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def tiny_bert() -> Pretrained:
    """A random BERT: 2 blocks, width 16, 60 tokens, 24 positions; mean features."""
    return pretrained.load(GOLDEN / "bert" / "bert_model")


@pytest.fixture(scope="session")
def tokens(recorded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs for `tiny_bert`: 3 rows of 11, 7 and 1 tokens."""
    names = ("tokens", "mask", "types")
    return {name: recorded[f"bert_model/{name}"] for name in names}


@pytest.fixture(scope="session")
def minilm() -> Pretrained:
    """The real MiniLM; skips where it is neither cached nor to be downloaded."""
    try:
        return pretrained.load("minilm")
    except OSError as error:
        pytest.skip(f"MiniLM is not to be had: {error}")


@pytest.fixture(scope="session")
def lite0() -> Pretrained:
    """The real EfficientNet-lite0; skips where it is neither cached nor to be had."""
    try:
        return pretrained.load("efficientnet-lite0")
    except OSError as error:
        pytest.skip(f"EfficientNet-lite0 is not to be had: {error}")


@pytest.fixture(scope="session")
def build_tfds() -> Callable[[Path, dict[str, Any], dict[str, list]], Path]:
    """(folder NAME/1.0.0, features, split -> rows) writes what tfds reads as NAME.

    Pictures are given as the bytes of files: others need TensorFlow.
    """
    tfds = pytest.importorskip("tensorflow_datasets")

    def build(folder: Path, features: dict[str, Any], rows: dict[str, list]) -> Path:
        folder.mkdir(parents=True)
        identity = tfds.core.dataset_info.DatasetIdentity(
            name=folder.parent.name,
            version=folder.name,
            data_dir=str(folder),
            module_name="tests",
        )
        info = tfds.core.DatasetInfo(
            builder=identity,
            features=tfds.features.FeaturesDict(features),
            license="CC-BY-4.0",
        )
        writer = tfds.core.SequentialWriter(info, 100, file_format="array_record")
        writer.initialize_splits(list(rows))
        writer.add_examples(rows)
        writer.close_all()
        return folder

    return build


@pytest.fixture(scope="session")
def squeezenet() -> Pretrained:
    """The real SqueezeNet 1.1; skips where it is neither cached nor to be had."""
    try:
        return pretrained.load("squeezenet")
    except OSError as error:
        pytest.skip(f"SqueezeNet is not to be had: {error}")
