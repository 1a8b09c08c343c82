"""A tiny model with a vocabulary; a tiny network and pictures for it."""

import shutil

import pytest
from tiny_images import write_model, write_pictures
from tiny_study import SPECIAL, WORDS, write


@pytest.fixture(scope="session")
def tiny_model(golden, tmp_path_factory):
    """A folder with a random BERT of 2 blocks, width 16, and 60 words."""
    folder = tmp_path_factory.mktemp("spec") / "model"
    shutil.copytree(golden / "bert" / "bert_model", folder)
    words = [*SPECIAL, *map(str, range(46)), *(w for kind in WORDS for w in kind)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


@pytest.fixture(scope="session")
def source(tiny_model, tmp_path_factory):
    """A folder with `model` and `rows.csv`, as `tiny.py` wants it."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "model").symlink_to(tiny_model)
    write(folder, "classification", ".csv").rename(folder / "rows.csv")
    return folder


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """Fitted pictures of these tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TL_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def model(golden, tmp_path_factory):
    return write_model(golden, tmp_path_factory.mktemp("spec") / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("photos") / "photos")
