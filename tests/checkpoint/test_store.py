"""Saving and restoring: exact, strict, and unmoved by what happens to the disk."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tl_jax import checkpoint
from tl_jax.checkpoint.folder import kept, ranked
from tl_jax.checkpoint.leaves import pack
from tl_jax.types import State


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Node:
    """A patch as methods graft it: two matrices, a scale, a static point."""

    a: jax.Array
    b: jax.Array | None
    scale: jax.Array
    point: str = dataclasses.field(default="product", metadata={"static": True})


def make_tree(seed: int = 0) -> dict:
    """All that a run saves, with every kind of leaf; the large one is no repetition."""
    r = np.random.default_rng(seed)
    node = Node(
        jnp.asarray(r.normal(size=(4, 2)), jnp.float32), None, jnp.float32(seed)
    )
    train = {"net": {"kernel": None, "patch": {"lora": node}, "head": jnp.ones((2, 3))}}
    memory = {
        "queue": jnp.asarray(r.normal(size=(300, 100)), jnp.float32),
        "half": jnp.asarray(r.normal(size=5), jnp.bfloat16),
        "count": jnp.uint32(2**32 - 1 - seed),
        "seen": jnp.array([True, False]),
        "special": jnp.array([jnp.nan, -0.0, jnp.inf, 1e-45]),
        "empty": jnp.zeros((0, 3)),
        "weak": jnp.asarray(2.0),
        "key": jax.random.split(jax.random.key(seed), 2),
        "host": np.arange(3) + 2**40,
        "python": (seed, 0.1, True),
    }
    state = State(
        jnp.int32(seed), train, {"net": optax.adamw(1e-3).init(train["net"])}, memory
    )
    return {"state": state, "frozen": {"net": {"blocks/0/kernel": jnp.ones((2, 2))}}}


def bits(leaf) -> tuple:
    """Everything about a leaf that must survive."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(leaf.dtype), bits(jax.random.key_data(leaf))
    array = np.asarray(leaf)
    weak = getattr(leaf, "weak_type", None)
    return type(leaf), array.shape, array.dtype, weak, array.tobytes()


def assert_same(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        assert bits(x) == bits(y), path


def test_every_leaf_comes_back_bit_by_bit(tmp_path):
    tree = make_tree(3)
    meta = {"positions": {"train": [1, 2]}, "key": [0, 7], "note": "é", "rate": 0.1}
    with checkpoint.open(tmp_path / "new" / "run") as store:
        assert (store.steps(), store.latest(), store.best()) == ([], None, None)
        store.save(5, tree, meta, score=0.25)
    with checkpoint.open(tmp_path / "new" / "run") as store:
        assert (store.steps(), store.latest(), store.best()) == ([5], 5, 5)
        assert store.meta() == meta
        restored = store.restore(make_tree(4))
        assert (restored.step, restored.meta) == (5, meta)
        assert_same(restored.tree, tree)
        flat = store.restore_flat().tree
    assert flat["frozen/net/blocks/0/kernel"].tolist() == [[1, 1], [1, 1]]
    assert isinstance(flat["state/memory/queue"], np.ndarray)


def test_abstract_target_gives_arrays(tmp_path):
    tree = {"a": jnp.arange(3), "key": jax.random.key(1)}
    with checkpoint.open(tmp_path) as store:
        store.save(0, tree, {})
        assert_same(store.restore(jax.eval_shape(lambda: tree)).tree, tree)


def test_a_committed_weak_scalar_stays_both(tmp_path):
    x = jax.device_put(jnp.asarray(0.5), jax.devices()[0])
    with checkpoint.open(tmp_path) as store:
        store.save(0, {"x": x}, {})
        y = store.restore({"x": x}).tree["x"]
    assert (float(y), y.weak_type, y.committed) == (0.5, True, True)


def test_saved_values_survive_donation_and_changes_in_place(tmp_path):
    tree = {"x": jnp.ones((500, 500)), "host": np.ones(4)}
    meta = {"positions": [1]}
    with checkpoint.open(tmp_path) as store:
        for step in range(3):
            store.save(step, tree, meta)
            tree["x"] = jax.jit(lambda x: x + 1, donate_argnums=0)(tree["x"])
            tree["host"] += 1
            meta["positions"].append(step)
            saved = store.restore(tree, step)
            assert (saved.tree["x"] == step + 1).all()
            assert (saved.tree["host"] == step + 1).all()
            assert len(saved.meta["positions"]) == step + 1


def test_what_is_written_is_a_copy_that_does_not_hinder_donation():
    tree = {"x": jnp.ones((50, 50)), "host": np.ones(4)}
    place = tree["x"].unsafe_buffer_pointer()
    arrays, _ = pack(tree)
    moved = jax.jit(lambda x: x + 1, donate_argnums=0)(tree["x"])
    tree["host"] += 1
    assert tree["x"].is_deleted()
    assert moved.unsafe_buffer_pointer() == place
    assert (arrays["x"] == 1).all()
    assert (arrays["host"] == 1).all()


@pytest.mark.parametrize(
    "target, lines",
    [
        ({"a": 1, "kernl": jnp.ones(2)}, ["missing: kernl (nearest: kernel)"]),
        ({"a": 1}, ["unexpected: kernel"]),
        (
            {"a": 1, "kernel": jnp.ones((3, 2))},
            ["shape: kernel: expected [3 2], found [2]"],
        ),
        (
            {"a": 1, "kernel": jnp.ones(2, jnp.bfloat16)},
            ["dtype: kernel: expected bfloat16, found float32"],
        ),
    ],
)
def test_a_target_that_does_not_fit_raises(tmp_path, target, lines):
    with checkpoint.open(tmp_path) as store:
        store.save(1, {"a": 1, "kernel": jnp.ones(2)}, {})
        with pytest.raises(checkpoint.TreeMismatch) as caught:
            store.restore(target)
    assert set(lines) <= set(caught.value.differences)
    assert all(line in str(caught.value) for line in [*lines, str(tmp_path)])


def test_a_mismatch_is_no_damage(tmp_path):
    with checkpoint.open(tmp_path) as store:
        store.save(1, {"a": jnp.ones(2)}, {})
        store.save(2, {"a": jnp.ones(3)}, {})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(checkpoint.TreeMismatch):
                store.restore({"a": jnp.ones(2)})


def test_unknown_steps_are_named(tmp_path):
    with checkpoint.open(tmp_path) as store:
        with pytest.raises(checkpoint.CheckpointError, match="the folder has none"):
            store.restore({})
        store.save(3, {"a": 1}, {})
        with pytest.raises(checkpoint.CheckpointError, match=r"step 4 .*\[3\]"):
            store.restore({"a": 1}, step=4)
        with pytest.raises(checkpoint.CheckpointError, match="already"):
            store.save(3, {"a": 2}, {})


@pytest.mark.parametrize(
    "scores, last, best, mode, expected",
    [
        ([None, None, None], 2, 1, "max", {1, 2}),
        ([0.9, 0.1, 0.2, 0.3], 2, 1, "max", {0, 2, 3}),
        ([0.9, 0.1, 0.2, 0.3], 2, 1, "min", {1, 2, 3}),
        ([0.9, 0.1, 0.2, 0.3], 1, 0, "max", {3}),
        ([0.9, 0.8, 0.2, 0.3], 1, 2, "max", {0, 1, 3}),
        ([0.5, 0.5, 0.5], 1, 1, "max", {0, 2}),
        ([float("nan"), 0.1, None], 1, 1, "max", {1, 2}),
        ([float("nan"), float("-inf"), 0.0], 1, 1, "min", {1, 2}),
        ([], 1, 1, "max", set()),
    ],
)
def test_what_is_kept(scores, last, best, mode, expected):
    assert kept(dict(enumerate(scores)), last, best, mode) == expected


def test_retention_on_disk_lasts_over_reopening(tmp_path):
    for step, score in enumerate([0.1, 0.9, 0.3, float("nan"), None]):
        with checkpoint.open(tmp_path, keep_last=2, keep_best=1) as store:
            store.save(step, {"a": step}, {}, score=score)
            assert store.latest() == step
    with checkpoint.open(tmp_path, read_only=True) as store:
        assert (store.steps(), store.best()) == ([1, 3, 4], 1)
    assert ranked({1: 0.9, 3: 0.9, 4: None}, "max") == [1, 3]


def test_opening_removes_debris_and_nothing_else(tmp_path):
    with checkpoint.open(tmp_path) as store:
        store.save(1, {"a": 1}, {})
    debris = tmp_path / "step_2.orbax-checkpoint-tmp" / "tree"
    debris.mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "2024").mkdir()
    with checkpoint.open(tmp_path, read_only=True) as store:
        assert store.steps() == [1]
        assert debris.exists()
        with pytest.raises(checkpoint.CheckpointError, match="read-only"):
            store.save(2, {"a": 2}, {})
    with checkpoint.open(tmp_path) as store:
        assert store.steps() == [1]
    assert {p.name for p in tmp_path.iterdir()} == {"step_1", "notes.txt", "2024"}


def test_a_reader_sees_what_a_run_adds(tmp_path):
    with (
        checkpoint.open(tmp_path) as run,
        checkpoint.open(tmp_path, read_only=True) as reader,
    ):
        run.save(1, {"a": 1}, {}, score=1.0)
        run.save(2, {"a": 2}, {}, score=2.0)
        run.wait()
        assert (reader.steps(), reader.best()) == ([1, 2], 2)
        assert reader.restore({"a": 0}).tree == {"a": 2}


def test_folders_that_can_not_be_used(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "run" / "deep"):
        with pytest.raises(checkpoint.CheckpointError, match="file is a file"):
            checkpoint.open(place)
    with pytest.raises(checkpoint.CheckpointError, match="/proc/none"):
        checkpoint.open("/proc/none/run")
    with pytest.raises(checkpoint.CheckpointError, match="no such folder"):
        checkpoint.open(tmp_path / "none", read_only=True)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(checkpoint.CheckpointError, match="no permission to write"):
        checkpoint.open(tmp_path)


def test_a_folder_lost_under_the_run(tmp_path):
    with checkpoint.open(tmp_path / "run") as store:
        store.save(1, {"a": 1}, {})
        store.wait()
        (tmp_path / "run").rename(tmp_path / "gone")
        (tmp_path / "run").write_text("a file now")
        with pytest.raises(checkpoint.CheckpointError, match="step 2 was not saved"):
            store.save(2, {"a": 2}, {})
        (tmp_path / "run").unlink()
        (tmp_path / "gone").rename(tmp_path / "run")
        store.save(3, {"a": 3}, {})
        assert store.restore({"a": 0}).tree == {"a": 3}


@pytest.mark.parametrize(
    "bad, error, words",
    [
        ({"tree": {"a": "text"}}, ValueError, "leaf 'a' is a str"),
        ({"tree": {"a": np.array(["x"])}}, ValueError, "leaf 'a' has dtype"),
        ({"tree": {"a/b": 1, "a": {"b": 2}}}, ValueError, "share the path 'a/b'"),
        ({"meta": {"x": [np.int64(1)]}}, TypeError, "meta/x/0 is a int64"),
        ({"meta": {1: 2}}, TypeError, "meta has the key 1"),
        ({"step": -1}, checkpoint.CheckpointError, "0 or more"),
        ({"step": 1.5}, TypeError, "integer"),
    ],
)
def test_what_can_not_be_saved(tmp_path, bad, error, words):
    with checkpoint.open(tmp_path) as store:
        with pytest.raises(error, match=words):
            store.save(**{"step": 1, "tree": {"a": 1}, "meta": {}} | bad)
        assert store.steps() == []
        store.save(1, {"a": 1}, {})


def test_a_donated_leaf_is_refused(tmp_path):
    x = jnp.ones(3)
    jax.jit(lambda x: x + 1, donate_argnums=0)(x)
    with (
        checkpoint.open(tmp_path) as store,
        pytest.raises(ValueError, match="'x' was donated"),
    ):
        store.save(1, {"x": x}, {})


@pytest.mark.parametrize("bad", [{"keep_last": 0}, {"keep_best": -1}, {"mode": "up"}])
def test_options_are_checked(tmp_path, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        checkpoint.open(tmp_path, **bad)
