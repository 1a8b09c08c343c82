"""Episodes on the device: the same laws as the host's, within compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chances import CYCLE, IMAGES, LABELS, SMALL, even, even_draws, same

from tl_jax.algorithms.meta import sampled
from tl_jax.data import (
    check_episodes,
    device_episodes,
    evaluation_numbers,
    ragged,
    resident,
    task_numbers,
)
from tl_jax.data.resident import distinct_on_device
from tl_jax.types import Algorithm

DRAW = device_episodes(**SMALL)
COMPILED = jax.jit(lambda data, task: DRAW(data, task))


def data(**how):
    return resident({"image": IMAGES}, LABELS, **(SMALL | how))


def many(count, **how):
    return COMPILED(data(**how), task_numbers(count, seed=5).at(0)["task"])


def test_an_episode_holds_what_its_index_says():
    batch = jax.tree.map(np.asarray, many(4))
    assert batch["support"]["inputs"]["image"].shape == (4, 3, 3)
    assert batch["query"]["labels"].shape == (4, 6)
    for stream in batch.values():
        np.testing.assert_array_equal(
            stream["inputs"]["image"], IMAGES[stream["index"]]
        )
        assert stream["labels"].dtype == stream["index"].dtype == np.int32
        assert (stream["weight"] == 1).all()


def test_classes_rows_and_order_come_evenly():
    batch = jax.tree.map(np.asarray, many(6000))
    check_episodes(batch, LABELS)
    even_draws(batch)


def test_distinct_numbers_are_permutations_of_even_law():
    bits = jax.random.bits(jax.random.key(0), (6000, 3), jnp.uint32)
    found = np.asarray(distinct_on_device(bits, jnp.full(6000, 4)))
    assert all(len(set(row)) == 3 for row in found)
    _, codes = np.unique(found @ [16, 4, 1], return_inverse=True)
    even(codes, np.ones(24))


def test_an_episode_is_a_function_of_seed_and_number():
    """Whatever the batch, the order, the step, and compiled or not."""
    held = data(seed=5)
    whole = COMPILED(held, {"index": np.arange(6), "weight": np.ones(6)})
    turned = np.array([4, 1])
    for draw in (COMPILED, DRAW):
        part = draw(held, {"index": turned, "weight": np.ones(2)})
        same(part, jax.tree.map(lambda x: x[turned], whole))
    same(whole, many(6))  # the seed in the stream
    other = COMPILED(
        held | {"seed": np.uint32(6)},
        {"index": np.arange(6), "weight": 0 * np.ones(6) + 1},
    )
    assert not np.array_equal(whole["query"]["index"], other["query"]["index"])


def test_evaluation_stays_the_same_for_good():
    """Rows as first recorded: a list that moved would make results incomparable."""
    fixed = COMPILED(data(), evaluation_numbers(6).at(0)["task"])
    assert fixed["support"]["index"][0].tolist() == [10, 20, 8]
    assert fixed["query"]["index"][0].tolist() == [12, 3, 4, 29, 19, 2]
    assert fixed["query"]["labels"][0].tolist() == [1, 2, 1, 2, 0, 0]


def test_padding_has_weight_0_and_index_minus_1():
    task = evaluation_numbers(4, 6).at(1)["task"]
    batch = DRAW(data(), task)
    for stream in batch.values():
        assert (np.asarray(stream["index"])[2:] == -1).all()
        assert (np.asarray(stream["weight"]).sum(1) > 0).tolist() == [1, 1, 0, 0]


def test_groups_and_super_classes():
    within = np.arange(30)
    for label in range(6):
        pair = np.flatnonzero(label == LABELS)[:2]
        within[pair] = pair[0]
    family = np.array([0, 0, 1, 0, 1, 1])
    batch = jax.tree.map(np.asarray, many(300, groups=within, super_classes=family))
    check_episodes(batch, LABELS, within)
    mine = family[LABELS[batch["query"]["index"]]]
    assert (mine == mine[:, :1]).all()
    assert 0 < mine.mean() < 1
    columns = {"x": np.zeros(6)}
    with pytest.raises(ValueError, match="rows of two classes.*on the host"):
        resident(columns, [0, 0, 1, 1, 2, 2], groups=[0, 1, 1, 2, 2, 0], **CYCLE)


def test_tokens_are_padded_once():
    lengths = np.arange(30) % 7 + 1
    tokens = ragged([np.full(n, row) for row, n in enumerate(lengths)], fill=-5)
    held = resident({"tokens": tokens}, LABELS, buckets=(4, 8), **SMALL)
    query = DRAW(held, task_numbers(2).at(0)["task"])["query"]
    assert query["inputs"]["tokens"].shape == (2, 6, 8)
    found = np.asarray(query["inputs"]["mask"]).sum(-1)
    np.testing.assert_array_equal(found, lengths[query["index"]])


def test_it_is_a_draw_of_sampled():
    """Steps see episodes and only numbers travel."""

    def step(state, frozen, batch, key):
        return state, {"rows": batch["query"]["index"]}

    made = sampled(Algorithm(None, step, None), DRAW)
    numbers = task_numbers(2, seed=5).at(3)
    frozen = {"resident": data()}
    _, metrics = jax.jit(made.step)(None, frozen, numbers, jax.random.key(0))
    same(metrics["rows"], COMPILED(data(), numbers["task"])["query"]["index"])


def test_numbers_resume_shard_and_end():
    made = task_numbers(6, seed=3)
    same(made.at(4)["task"]["index"], np.arange(24, 30))
    chunk = made.chunk(1, 2)
    same(chunk["task"]["index"], np.arange(6, 18).reshape(2, 6))
    parts = [task_numbers(6, 3, shard=i, shards=2).chunk(1, 2) for i in range(2)]
    same(jax.tree.map(lambda *x: np.concatenate(x, 1), *parts), chunk)
    assert (chunk["task"]["seed"] == 3).all()
    held = evaluation_numbers(4, 6)
    assert held.steps == 2
    assert made.steps is None
    index = held.at(0)["task"]["index"]
    assert index.min() > 2**30
    assert held.at(1)["task"]["weight"].tolist() == [1, 1, 0, 0]
    with pytest.raises(IndexError, match="not in 0..2"):
        held.at(2)
    with pytest.raises(IndexError, match="are evaluation's"):
        made.at(2**29)
    with pytest.raises(ValueError, match="does not divide 6 tasks"):
        task_numbers(6, shards=4)
    with pytest.raises(ValueError, match="seed is -1"):
        task_numbers(6, -1)
    with pytest.raises(ValueError, match="at most"):
        evaluation_numbers(4, 2**20)


def test_bad_requests_are_named():
    with pytest.raises(ValueError, match=r"\(3, 4\), but `resident` .* \(3, 3\)"):
        device_episodes(3, 1, 3)(data(), task_numbers(2).at(0)["task"])
    with pytest.raises(ValueError, match="ways is 1, expected 2"):
        device_episodes(1)
    with pytest.raises(ValueError, match=r"4 rows.*: 0 \(3\)"):
        resident({"x": np.zeros(8)}, [0, 0, 0, 1, 1, 1, 1, 1], ways=2, queries=3)
