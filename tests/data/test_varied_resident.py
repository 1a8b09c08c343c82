"""Varied episodes on the device: the host's law, in static shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chances import LABELS, SMALL, even, same
from scipy import stats

from tl_jax.data import (
    check_episodes,
    device_episodes,
    evaluation_numbers,
    resident,
    task_numbers,
    varied_device_episodes,
    varied_episodes,
    varied_resident,
)
from tl_jax.data.draws import Varied

SIZES = np.array([2, 3, 8, 20, 30, 40, 50, 60])
WIDE = np.repeat(np.arange(8), SIZES)[np.arange(213) * 10 % 213]
ROOM = dict(min_ways=3, max_ways=6, max_support=40, max_queries=4, contribution=9)
DRAW = varied_device_episodes(**ROOM)
COMPILED = jax.jit(lambda data, task: DRAW(data, task))
COLUMNS = {"x": np.arange(len(WIDE), dtype=np.float32)}


def data(**how):
    return varied_resident(COLUMNS, WIDE, **({"min_ways": 3} | how))


def many(count, **how):
    task = task_numbers(count, seed=5).at(0)["task"]
    return jax.tree.map(np.asarray, COMPILED(data(**how), task))


@pytest.fixture(scope="module")
def drawn():
    return many(4000)


@pytest.fixture(scope="module")
def host():
    return varied_episodes(COLUMNS, WIDE, tasks=4000, seed=9, **ROOM).at(0)


def test_sets_are_real_rows_and_then_padding(drawn):
    assert drawn["support"]["labels"].shape == (4000, 40)
    assert drawn["query"]["labels"].shape == (4000, 24)
    check_episodes(jax.tree.map(lambda x: x[:600], drawn), WIDE)
    for stream in drawn.values():
        real = stream["weight"] > 0
        assert set(np.unique(stream["weight"])) == {0, 1}
        assert (stream["index"][~real] == -1).all()
        assert (stream["labels"][~real] == 0).all()
        found = stream["inputs"]["x"][real]
        np.testing.assert_array_equal(found, stream["index"][real])
        assert stream["labels"].dtype == stream["index"].dtype == np.int32


def counts(batch):
    """[K 8] rows of each class of the source, in support and in queries."""
    found = []
    for stream in (batch["support"], batch["query"]):
        classes = np.where(stream["weight"] > 0, WIDE[stream["index"]], 8)
        found.append((classes[..., None] == np.arange(8)).sum(1))
    return found


def test_ways_and_queries_are_those_of_the_paper(drawn):
    support, query = counts(drawn)
    ways = (support > 0).sum(1)
    even(ways - 3, np.ones(4))
    smallest = np.where(support > 0, SIZES, 100).min(1)
    wanted = np.where(support > 0, np.minimum(4, smallest // 2)[:, None], 0)
    np.testing.assert_array_equal(query, wanted)
    assert support.sum(1).max() <= 40


def alike(ours, theirs):
    """Whole numbers of one law: chi-square of two samples at one in a thousand."""
    most = 1 + max(ours.max(), theirs.max())
    table = np.stack([np.bincount(x, minlength=most) for x in (ours, theirs)])
    rare = table.sum(0) < 20
    table = np.concatenate([table[:, ~rare], table[:, rare].sum(1)[:, None]], 1)
    table = table[:, table.sum(0) > 0]
    assert table.shape[1] == 1 or stats.chi2_contingency(table).pvalue > 1e-3


def test_shots_have_the_hosts_law(drawn, host):
    """Of each class, of all, of the largest; and which classes come together."""
    (ours, _), (theirs, _) = counts(drawn), counts(host)
    for label in range(8):
        alike(ours[:, label], theirs[:, label])
    alike(ours.sum(1), theirs.sum(1))
    alike(ours.max(1), theirs.max(1))
    alike((ours > 0) @ 2 ** np.arange(8), (theirs > 0) @ 2 ** np.arange(8))


def test_rows_and_places_come_evenly(drawn):
    """The first row of a class on each side is any of its rows, at any place."""
    for stream in drawn.values():
        for label in (3, 7):
            rows = np.flatnonzero(label == WIDE)
            here = (stream["weight"] > 0) & (WIDE[stream["index"]] == label)
            first = stream["index"][here.any(1), here[here.any(1)].argmax(1)]
            even(np.searchsorted(rows, first), np.ones(len(rows)))
    query = drawn["query"]
    three = (query["weight"].sum(1) == 12) & (query["labels"].max(1) == 2)
    for place in (0, 11):
        even(query["labels"][three, place], np.ones(3))


def test_label_numbers_say_nothing_of_classes(drawn):
    zero = np.argmax((drawn["query"]["labels"] == 0), 1)
    rows = drawn["query"]["index"][np.arange(4000), zero]
    even(WIDE[rows], np.ones(8))


def test_shots_are_the_hosts_for_the_same_numbers():
    class Known:
        def random(self):
            return 0.4  # beta = .6

        def uniform(self, low, high, count):
            return np.array([low, 0.0, high])

    sizes, left = np.array([10, 40, 6]), np.array([6, 36, 2])
    shape = Varied(3, 5, 30, 4, 20)
    wanted = shape.shots(Known(), sizes, left)
    draw = varied_device_episodes(*shape)
    more = jnp.array([9, 9])  # classes that are not there
    alpha = jnp.array([np.log(0.5), 0.0, np.log(2), 0.3, 0.3])
    there = jnp.arange(5) < 3
    args = jnp.append(sizes, more), jnp.append(left, more), there
    found = draw.shots(jnp.float32(0.6), alpha, *args)
    assert found.tolist() == [*wanted.tolist(), 0, 0]


def test_an_episode_is_a_function_of_seed_and_number():
    held = data(seed=5)
    whole = COMPILED(held, {"index": np.arange(6), "weight": np.ones(6)})
    turned = np.array([4, 1])
    for draw in (COMPILED, DRAW):
        part = draw(held, {"index": turned, "weight": np.ones(2)})
        same(part, jax.tree.map(lambda x: x[turned], whole))
    other = COMPILED(
        held | {"seed": np.uint32(6)}, {"index": np.arange(6), "weight": np.ones(6)}
    )
    assert not np.array_equal(whole["query"]["index"], other["query"]["index"])


def test_evaluation_stays_the_same_for_good():
    """Rows as first recorded: a list that moved would make results incomparable."""
    fixed = COMPILED(data(), evaluation_numbers(2).at(0)["task"])
    query = jax.tree.map(np.asarray, fixed["query"])
    assert query["index"][0][:5].tolist() == [122, 71, 47, 0, 100]
    assert query["labels"][0][:5].tolist() == [4, 5, 2, 0, 3]


def test_tasks_past_the_end_weigh_nothing():
    batch = DRAW(data(), evaluation_numbers(4, 6).at(1)["task"])
    for stream in batch.values():
        assert (np.asarray(stream["index"])[2:] == -1).all()
        assert (np.asarray(stream["weight"]).sum(1) > 0).tolist() == [1, 1, 0, 0]


def test_super_classes_with_fewer_classes_than_the_most_ways():
    """One of three classes, one of five: ways end at what there is."""
    family = np.array([0, 0, 1, 1, 1, 1, 0, 1])
    batch = many(2000, super_classes=family)
    check_episodes(jax.tree.map(lambda x: x[:200], batch), WIDE)
    support, _ = counts(batch)
    zero = (support > 0)[:, family == 0].any(1)
    assert not (zero & (support > 0)[:, family == 1].any(1)).any()
    ways = (support > 0).sum(1)
    even(zero.astype(int), [1, 1])
    assert (ways[zero] == 3).all()
    even(ways[~zero] - 3, np.ones(3))


def test_a_group_gives_one_row():
    group = np.arange(len(WIDE))
    for label in range(2, 8):
        pair = np.flatnonzero(label == WIDE)[:2]
        group[pair] = pair[0]
    check_episodes(many(300, groups=group), WIDE, group)


def test_mistakes_are_named():
    task = task_numbers(2).at(0)["task"]
    with pytest.raises(ValueError, match="max_support is 5, expected 6"):
        varied_device_episodes(3, 6, 5)
    with pytest.raises(ValueError, match="min_ways is 3, but `resident` .* for 2"):
        DRAW(data(min_ways=2), task)
    fixed = resident({"x": np.zeros(30)}, LABELS, **SMALL)
    with pytest.raises(ValueError, match="of `varied_resident`, 'varied'"):
        DRAW(fixed, task)
    with pytest.raises(ValueError, match="resident 'capacity'"):
        device_episodes(**SMALL)(data(), task)
    with pytest.raises(ValueError, match=r"1 of 3 .* fewer than 2 rows.*: 2 \(1\)"):
        varied_resident({"x": np.zeros(5)}, [0, 0, 1, 1, 2], min_ways=2)
