"""Comparison of trees, and files that are whole or absent."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.checkpoint import TreeMismatch, compare, write_atomic


def test_equal_trees_have_no_differences():
    tree = {"a": [jnp.ones((2, 3)), None], "n": 1}
    assert compare(tree, tree) == []
    assert (
        compare(jax.eval_shape(lambda: {"x": jnp.ones(2)}), {"x": np.ones(2, "f")})
        == []
    )
    assert compare(tree, {"a/0": jnp.zeros((2, 3)), "n": 2}) == []


def test_every_difference_has_a_line():
    target = {
        "same": 1.0,
        "lost": jnp.ones(1),
        "w": jnp.ones((2, 3)),
        "n": 1,
        "h": None,
    }
    saved = {"same": 2.0, "lots": 1, "w": np.ones((3, 2)), "n": 1.0, "h": 2}
    assert compare(target, saved) == [
        "missing: lost (nearest: lots)",
        "unexpected: h",
        "unexpected: lots",
        "shape: w: expected [2 3], found [3 2]",
        "dtype: n: expected python int, found python float",
        "dtype: w: expected float32, found float64",
    ]


def test_a_message_is_short_and_the_list_is_whole():
    lines = compare({f"w{i}": 1 for i in range(500)}, {})
    error = TreeMismatch("title", lines)
    assert len(error.differences) == 500
    assert str(error).splitlines()[-1] == "  missing: and 488 more"


def test_typed_keys_differ_from_their_data():
    key = jax.random.key(0)
    assert compare({"k": key}, {"k": key}) == []
    assert len(compare({"k": key}, {"k": jax.random.key_data(key)})) == 2


def test_write_atomic_replaces_whole_files(tmp_path):
    path = tmp_path / "r.json"
    write_atomic(path, "é")
    write_atomic(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["r.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    write_atomic(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]
