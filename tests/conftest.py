"""What the tests share: tiny models, the real MiniLM, and compiled programs kept."""

import gc
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
QUICK = "JAX_DISABLE_MOST_OPTIMIZATIONS"
MOST = 4 * 2**30
"""Bytes that a process of tests may hold."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs between runs, below the user's cache.

    Most of a run is compiling, so that little is optimised, in processes that tests
    start, too; what is compared with torch is compiled as users' programs are.
    """
    if config.option.markexpr != "parity" and QUICK not in os.environ:
        os.environ[QUICK] = "1"
        jax.config.update("jax_disable_most_optimizations", True)
    cache = os.environ.get("TL_JAX_CACHE", Path.home() / ".cache" / "tl_jax")
    jax.config.update("jax_compilation_cache_dir", str(Path(cache) / "xla-tests"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Between two files: let compiled programs go where a process holds many.

    They come back from the disk. Two processes of a whole run would else grow past
    8 GB each.
    """
    same = nextitem is not None and nextitem.path == item.path
    if not same and resident() > MOST:
        jax.clear_caches()
        gc.collect()


def resident() -> int:
    """Bytes of this process in memory; 0 where Linux does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


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
