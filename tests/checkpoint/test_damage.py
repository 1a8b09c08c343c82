"""Checkpoints that the disk has damaged: noticed, named, passed over, never deleted."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import checkpoint


def tree_of(seed: int) -> dict:
    """Noise, which no compression shortens."""
    return {"x": np.random.default_rng(seed).normal(size=(60, 100)), "n": seed}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def data_file(step: Path) -> Path:
    """The file with the arrays' bytes."""
    files = [p for p in (step / "tree").rglob("*") if p.is_file()]
    return max(files, key=lambda p: p.stat().st_size)


DAMAGE = {
    "truncated": lambda step: truncate(data_file(step)),
    "flipped": lambda step: flip(data_file(step)),
    "array file gone": lambda step: data_file(step).unlink(),
    "tree metadata gone": lambda step: (step / "tree" / "_METADATA").unlink(),
    "tree metadata empty": lambda step: (step / "tree" / "_METADATA").write_text(""),
    "manifest gone": lambda step: (step / "manifest" / "metadata").unlink(),
    "manifest cut": lambda step: truncate(step / "manifest" / "metadata"),
    "manifest flipped": lambda step: flip(step / "manifest" / "metadata"),
    "manifest no JSON object": lambda step: (step / "manifest" / "metadata").write_text(
        "[]"
    ),
}


# Reads that orbax gave up may end after its event loop is gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_newest_is_passed_over_with_a_warning(tmp_path, damage):
    old, new = tree_of(1), tree_of(2)
    with checkpoint.open(tmp_path) as store:
        store.save(1, old, {"n": 1})
        store.save(2, new, {"n": 2})
    damage(tmp_path / "step_2")
    with checkpoint.open(tmp_path, keep_last=1) as store:
        with pytest.warns(UserWarning, match="step_2 is damaged"):
            restored = store.restore(new)
        assert restored.step == 1
        np.testing.assert_array_equal(restored.tree["x"], old["x"])
        with pytest.raises(checkpoint.CheckpointError, match="step_2: "):
            store.restore(new, step=2)
        store.save(2, new, {"n": 3})  # the run goes on and reaches that step again
        assert store.steps() == [2]
        np.testing.assert_array_equal(store.restore(old).tree["x"], new["x"])
    assert (tmp_path / "damaged_2_0").is_dir()


def test_damaged_files_do_not_count_as_kept(tmp_path):
    with checkpoint.open(tmp_path, keep_last=1, keep_best=0) as store:
        store.save(1, {"a": 1}, {})
    with checkpoint.open(tmp_path, keep_last=2, keep_best=0) as store:
        store.save(5, {"a": 5}, {})
    (tmp_path / "step_5" / "manifest" / "metadata").unlink()
    with checkpoint.open(tmp_path, keep_last=2, keep_best=0) as store:
        store.save(6, {"a": 6}, {})
        assert store.steps() == [1, 5, 6]


def test_all_damaged_is_an_error_that_lists_each(tmp_path):
    with checkpoint.open(tmp_path) as store:
        store.save(1, {"a": 1}, {})
        store.save(2, {"a": jnp.ones(9)}, {})
    (tmp_path / "step_1" / "manifest" / "metadata").unlink()
    (tmp_path / "step_2" / "manifest" / "metadata").write_text("{")
    with (
        checkpoint.open(tmp_path) as store,
        pytest.warns(UserWarning, match="step_2 is damaged"),
        pytest.raises(checkpoint.CheckpointError) as caught,
    ):
        store.restore({"a": jnp.ones(9)})
    assert "step_1: its manifest is missing" in str(caught.value)
    assert "step_2: its manifest can't be read" in str(caught.value)
