"""A tiny model with a vocabulary."""

import shutil

import pytest
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
