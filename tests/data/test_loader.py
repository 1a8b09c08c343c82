"""Batches: positions, epochs, shards, buckets, evaluation and prefetching."""

import itertools
import threading

import jax
import numpy as np
import pytest

from tl_jax.data.loader import evaluation, loader, order, ordered, prefetch
from tl_jax.data.ragged import bucket, pad, ragged

LENGTHS = [3, 9, 1, 4, 7, 2, 8, 5, 6, 2]
ROWS = [list(range(1, n + 1)) for n in LENGTHS]


def text_loader(**settings):
    columns = {"tokens": ragged(ROWS, fill=0), "types": ragged(ROWS)}
    return loader(columns, np.arange(10), **({"buckets": (4, 8, 16)} | settings))


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_pad_agrees_with_a_loop():
    column = ragged(ROWS, fill=-1)
    got = pad(column, np.array([4, 2, 4]), 8)
    expected = np.full((3, 8), -1)
    for i, row in enumerate([4, 2, 4]):
        for j, value in enumerate(ROWS[row]):
            expected[i, j] = value
    np.testing.assert_array_equal(got, expected)
    pairs = pad(ragged([[(1, 2)], []]), np.array([0, 1]), 2)
    np.testing.assert_array_equal(pairs, [[[1, 2], [0, 0]], [[0, 0], [0, 0]]])
    with pytest.raises(ValueError, match="row 1 has 9 entries, more than 8"):
        pad(column, np.array([0, 1]), 8)
    assert [bucket(n, (4, 8)) for n in (0, 4, 5, 8)] == [4, 4, 8, 8]
    with pytest.raises(ValueError, match="length 9"):
        bucket(9, (4, 8))


def test_a_batch_holds_what_its_index_says():
    batch = text_loader(batch=4, seed=1).at(0)
    assert batch["inputs"]["tokens"].dtype == np.int32
    for i, row in enumerate(batch["index"]):
        mask = batch["inputs"]["mask"][i]
        assert mask.sum() == LENGTHS[row]
        assert batch["inputs"]["tokens"][i][mask].tolist() == ROWS[row]
        assert batch["labels"][i] == row
    longest = max(LENGTHS[row] for row in batch["index"])
    assert batch["inputs"]["tokens"].shape == (4, bucket(longest, (4, 8, 16)))
    np.testing.assert_array_equal(batch["weight"], np.ones(4, np.float32))


def test_each_epoch_sees_each_row_once_in_another_order():
    made = text_loader(batch=4, seed=3)
    seen = np.concatenate([made.at(step)["index"] for step in range(15)])
    epochs = seen.reshape(6, 10)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(10))
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_the_order_is_a_permutation_by_seed():
    got = order(50, 4, np.arange(100)).reshape(2, 50)
    for epoch in got:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(50))
    assert not np.array_equal(got[0], got[1])
    np.testing.assert_array_equal(order(50, 4, np.arange(30, 70)), got.ravel()[30:70])
    assert not np.array_equal(order(50, 5, np.arange(50)), got[0])


def test_resuming_at_a_step_gives_the_same_batches():
    whole = [text_loader(batch=3, seed=2).at(step) for step in range(9)]
    for step in range(5, 9):
        equal(text_loader(batch=3, seed=2).at(step), whole[step])


def test_a_chunk_is_its_batches_in_one_shape():
    made = text_loader(batch=3, seed=2)
    chunk = made.chunk(4, 3)
    width = chunk["inputs"]["tokens"].shape[2]
    assert chunk["inputs"]["tokens"].shape == (3, 3, width)
    for i in range(3):
        one = made.at(4 + i)
        size = one["inputs"]["tokens"].shape[1]
        assert size <= width
        for name in ("tokens", "mask", "types"):
            value = chunk["inputs"][name][i]
            np.testing.assert_array_equal(value[:, :size], one["inputs"][name])
            assert not value[:, size:].any()
        for name in ("labels", "weight", "index"):
            np.testing.assert_array_equal(chunk[name][i], one[name])


def test_shards_are_the_parts_of_the_same_batch():
    whole = text_loader(batch=6, seed=1)
    parts = [text_loader(batch=6, seed=1, shard=i, shards=3) for i in range(3)]
    for step in range(4):
        got = [part.at(step) for part in parts]
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *got)
        equal(joined, whole.at(step))
    chunks = [part.chunk(1, 2) for part in parts]
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *chunks)
    equal(joined, whole.chunk(1, 2))


def test_finite_epochs_end_with_padding():
    made = text_loader(batch=4, epochs=2, shuffle=False)
    assert made.steps == 5
    assert text_loader(batch=8, epochs=1).steps == 2
    last = text_loader(batch=8, epochs=1, shuffle=False).at(1)
    assert last["index"].tolist() == [8, 9, -1, -1, -1, -1, -1, -1]
    assert last["weight"].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert last["inputs"]["mask"].any(axis=1).all()  # padding is a real row: no NaN
    assert made.at(2)["index"].tolist() == [8, 9, 0, 1]
    with pytest.raises(IndexError, match="step 5"):
        made.at(5)
    assert text_loader().steps is None


def test_evaluation_sees_every_row_once_by_length():
    columns = {"tokens": ragged(ROWS)}
    rows = np.array([9, 1, 3, 4, 0, 6, 8])
    batches = list(evaluation(columns, None, rows, 3, buckets=(4, 8, 16)))
    index = np.concatenate([batch["index"] for batch in batches])
    assert sorted(index[index >= 0]) == sorted(rows)
    lengths = [LENGTHS[i] for i in index if i >= 0]
    assert lengths == sorted(lengths)
    widths = [batch["inputs"]["tokens"].shape[1] for batch in batches]
    assert widths == [4, 8, 16]
    assert [batch["weight"].sum() for batch in batches] == [3, 3, 1]
    assert "labels" not in batches[0]
    parts = [
        evaluation(columns, None, rows, 4, shard=i, shards=2, buckets=(16,))
        for i in range(2)
    ]
    seen = [batch["index"] for part in parts for batch in part]
    assert sorted(i for i in np.concatenate(seen) if i >= 0) == sorted(rows)


def test_shapes_bound_the_programs():
    made = text_loader(batch=4, buckets=(4, 8, 16, 32), shards=2)
    assert made.shapes() == [(2, 4), (2, 8), (2, 16)]
    found = {made.at(step)["inputs"]["tokens"].shape for step in range(40)}
    assert found <= set(made.shapes())
    assert text_loader(batch=4, buckets=None).shapes() == [(4, 9)]
    dense = loader({"x": np.zeros((5, 2))}, batch=4)
    assert dense.shapes() == [(4,)]
    assert dense.at(3)["inputs"]["x"].shape == (4, 2)


def test_labels_of_words_are_padded_with_the_tokens():
    columns, tags = {"tokens": ragged(ROWS)}, ragged(ROWS, fill=-100)
    batch = ordered(columns, tags, batch=10, buckets=(16,)).at(0)
    assert batch["labels"].shape == (10, 16)
    np.testing.assert_array_equal(batch["labels"] == -100, ~batch["inputs"]["mask"])


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"rows": []}, "no rows"),
        ({"rows": [0, 10]}, "rows must be in 0..9"),
        ({"buckets": (4, 8)}, "row 1 has 9 tokens, the largest bucket 8"),
        ({"batch": 5, "shards": 2}, "shard 0 of 2"),
        ({"batch": 4, "shard": 2, "shards": 2}, "shard 2 of 2"),
        ({"batch": 0}, "batch 0"),
    ],
)
def test_bad_settings_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        text_loader(**settings)


def test_columns_must_agree():
    with pytest.raises(ValueError, match="differ"):
        loader({"x": np.zeros(3), "y": np.zeros(4)})
    with pytest.raises(ValueError, match="no columns"):
        loader({})
    for bad in (["a", "b"], [[1], [1, 2]], np.array(["a", "b"])):
        with pytest.raises(TypeError, match="text: expected numbers"):
            loader({"text": bad})


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_prefetch_keeps_the_order(depth):
    got = prefetch(lambda i: i * i, 3, 20, stride=4, depth=depth, place=str)
    assert list(got) == [str(i * i) for i in range(3, 20, 4)]
    endless = prefetch(lambda i: i, 5, None, depth=depth)
    assert list(itertools.islice(endless, 3)) == [5, 6, 7]
    endless.close()


def test_prefetch_raises_what_a_thread_raised_and_closes():
    def make(step):
        if step == 3:
            raise KeyError("row 3")
        return step

    got, seen = prefetch(make, 0, 10), []
    with pytest.raises(KeyError, match="row 3"):
        seen.extend(iter(got.__next__, None))
    stopped = prefetch(lambda i: i, 0, None)
    next(stopped)
    stopped.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("prefetch") for name in names)
    with pytest.raises(ValueError, match="depth"):
        next(prefetch(make, 0, 1, depth=0))


def test_prefetch_runs_ahead_by_its_depth_only():
    made = []
    got = prefetch(lambda i: made.append(i) or i, 0, 100, depth=2)
    assert next(got) == 0
    got.close()
    assert set(made) <= {0, 1, 2}


def test_batches_go_to_the_device():
    made = text_loader(batch=4)
    (batch,) = prefetch(made.at, 0, 1, place=jax.device_put)
    assert isinstance(batch["inputs"]["tokens"], jax.Array)


def test_padding_of_the_last_batch_is_no_longer_than_the_batch():
    """The first of all rows may be longer than the rows of the last batch."""
    columns = {"tokens": ragged([[1] * 40, [2] * 3, [3] * 4])}
    made = loader(columns, batch=2, shuffle=False, epochs=1, buckets=(8, 64))
    last = made.at(1)
    assert last["inputs"]["tokens"].shape == (2, 8)
    assert last["weight"].tolist() == [1, 0]


def test_a_batch_of_all_rows_has_them_in_their_own_order():
    made = loader({"x": np.arange(7)}, rows=[1, 2, 5, 6], batch=4, seed=3)
    for step in range(3):
        assert made.at(step)["index"].tolist() == [1, 2, 5, 6]
    part = loader({"x": np.arange(7)}, rows=[1, 2, 5, 6], batch=2, seed=3)
    shown = [tuple(part.at(step)["index"]) for step in range(8)]
    assert len(set(shown)) > 2
