"""Host episodes: random evenly, apart, exact to resume, sharded, of static shapes."""

import jax
import numpy as np
import pytest
from chances import CYCLE, IMAGES, LABELS, SMALL, even, even_draws, same

from tl_jax.data import (
    check_episodes,
    episodes,
    evaluation_episodes,
    ragged,
    varied_episodes,
)
from tl_jax.data.draws import Varied, distinct


def some(**how):
    return episodes({"image": IMAGES}, LABELS, **(SMALL | {"tasks": 4} | how))


def test_an_episode_holds_what_its_index_says():
    batch = some(seed=1).at(2)
    assert batch["support"]["inputs"]["image"].shape == (4, 3, 3)
    assert batch["query"]["labels"].shape == (4, 6)
    for stream in batch.values():
        np.testing.assert_array_equal(
            stream["inputs"]["image"], IMAGES[stream["index"]]
        )
        assert stream["labels"].dtype == stream["index"].dtype == np.int32
        assert (stream["weight"] == 1).all()
    for k in range(4):
        assert sorted(batch["support"]["labels"][k]) == [0, 1, 2]
        assert sorted(batch["query"]["labels"][k]) == [0, 0, 1, 1, 2, 2]
    check_episodes(some(tasks=200).at(0), LABELS)


def test_classes_rows_and_order_come_evenly():
    """Each of these draws is one of a uniform law, so chi-square holds exactly."""
    even_draws(some(tasks=6000, seed=5).at(0))


def test_distinct_numbers_are_permutations_of_even_law():
    random = np.random.default_rng(0)
    found = distinct(random.random((6000, 3)), np.full(6000, 4))
    assert all(len(set(row)) == 3 for row in found)
    codes = found @ [16, 4, 1]
    _, codes = np.unique(codes, return_inverse=True)
    even(codes, np.ones(24))
    whole = distinct(random.random((5, 7)), np.array([7, 8, 9, 7, 100]))
    assert sorted(whole[0]) == sorted(whole[3]) == list(range(7))
    assert (whole < np.array([7, 8, 9, 7, 100])[:, None]).all()


@pytest.mark.parametrize("make", [some, lambda **how: varied(tasks=4, **how)])
def test_batches_resume_and_shard_exactly(make):
    whole = [make(seed=2).at(step) for step in range(5)]
    same(make(seed=2).at(3), whole[3])
    chunk = make(seed=2).chunk(2, 3)
    same(chunk, jax.tree.map(lambda *leaves: np.stack(leaves), *whole[2:]))
    parts = [make(seed=2, shard=i, shards=2) for i in range(2)]
    joined = jax.tree.map(lambda *x: np.concatenate(x), *(p.at(4) for p in parts))
    same(joined, whole[4])
    chunks = [p.chunk(2, 3) for p in parts]
    same(jax.tree.map(lambda *x: np.concatenate(x, 1), *chunks), chunk)
    assert not np.array_equal(whole[0]["query"]["index"], whole[1]["query"]["index"])
    other = make(seed=3).at(0)
    assert not np.array_equal(whole[0]["query"]["index"], other["query"]["index"])


def test_an_episode_depends_on_its_number_and_not_on_the_batch():
    small, large = some(tasks=2), some(tasks=8)
    parts = [small.at(step) for step in range(4)]
    same(jax.tree.map(lambda *x: np.concatenate(x), *parts), large.at(0))


def test_evaluation_is_one_list_for_all():
    made = evaluation_episodes(some(seed=1), 6)
    assert made.steps == 2
    same(made.at(0), evaluation_episodes(some(seed=7), 600).at(0))
    last = made.at(1)
    assert last["query"]["weight"].sum(1).tolist() == [6, 6, 0, 0]
    assert (last["support"]["index"][2:] == -1).all()
    assert np.isfinite(last["support"]["inputs"]["image"]).all()
    trained = some(seed=0).chunk(0, 50)["query"]["index"].reshape(-1, 6)
    tested = made.at(0)["query"]["index"]
    assert not (trained[:, None] == tested).all(-1).any()
    with pytest.raises(IndexError, match="not in 0..2"):
        made.at(2)
    with pytest.raises(ValueError, match="at most"):
        evaluation_episodes(some(), 2**20)


def test_evaluation_stays_the_same_for_good():
    """Rows as first recorded: a list that moved would make results incomparable."""
    fixed = evaluation_episodes(some(tasks=1)).at(0)
    assert fixed["support"]["index"].tolist() == [[13, 24, 21]]
    assert fixed["query"]["index"].tolist() == [[11, 15, 26, 0, 17, 25]]
    assert fixed["query"]["labels"].tolist() == [[0, 0, 2, 2, 1, 1]]


def test_tokens_are_padded_to_the_bucket_of_a_chunk():
    lengths = np.arange(30) % 7 + 1
    tokens = ragged([np.full(n, row) for row, n in enumerate(lengths)], fill=-5)
    made = episodes({"tokens": tokens}, LABELS, buckets=(4, 8), tasks=4, **SMALL)
    for step in range(4):
        batch = made.at(step)
        longest = max(lengths[s["index"]].max() for s in batch.values())
        for stream in batch.values():
            assert stream["inputs"]["tokens"].shape[-1] == (4 if longest <= 4 else 8)
            mask = stream["inputs"]["mask"]
            np.testing.assert_array_equal(mask.sum(-1), lengths[stream["index"]])
            rows = np.broadcast_to(stream["index"][..., None], mask.shape)
            tokens_here = stream["inputs"]["tokens"]
            np.testing.assert_array_equal(tokens_here, np.where(mask, rows, -5))
    with pytest.raises(ValueError, match="has 7 tokens"):
        episodes({"tokens": tokens}, LABELS, buckets=(4,), tasks=4, **SMALL)


def test_rows_are_those_of_the_split():
    rows = np.flatnonzero(LABELS < 4)
    batch = some(rows=rows, tasks=50).at(0)
    assert set(np.unique(batch["query"]["index"])) <= set(rows)


def test_groups_stay_apart():
    """Of one class they are drawn once; those of several classes are drawn again."""
    within = np.arange(30)
    for label in range(6):  # the first two rows of each class are one group
        pair = np.flatnonzero(label == LABELS)[:2]
        within[pair] = pair[0]
    check_episodes(some(groups=within, tasks=200).at(0), LABELS, within)
    with pytest.raises(ValueError, match=r"fewer than 4 groups of rows.*0 \(3\)"):
        some(groups=within, queries=3)
    across = np.arange(30) % 12
    made = some(groups=across, tasks=200, queries=1)
    check_episodes(made.at(0), LABELS, across)
    same(made._replace(tasks=50).at(2), part(made.at(0), 100, 150))
    columns = {"x": np.zeros(6)}  # groups in a circle: somebody's support is asked
    with pytest.raises(ValueError, match="groups: 200 draws"):
        episodes(columns, [0, 0, 1, 1, 2, 2], groups=[0, 1, 1, 2, 2, 0], **CYCLE)


def part(batch, start, stop):
    return jax.tree.map(lambda x: x[start:stop], batch)


def test_classes_of_an_episode_are_of_one_super_class():
    family = np.array(["a", "a", "b", "a", "b", "b"])
    batch = some(super_classes=family, tasks=2000).at(0)
    mine = family[LABELS[batch["query"]["index"]]]
    assert (mine == mine[:, :1]).all()
    even((mine[:, 0] == "a").astype(int), [1, 1])
    with pytest.raises(
        ValueError, match=r"2 of 6 classes have fewer than 3 classes in"
    ):
        some(super_classes=np.array([0, 0, 0, 0, 1, 1]))
    made = some(super_classes=np.array([0, 0, 0, 0, 1, 1]), short="leave_out")
    assert made.table.classes.tolist() == [0, 1, 2, 3]
    assert "4 (5), 5 (6)" in made.notes[0]


def test_small_classes_are_named_or_left_out():
    with pytest.raises(ValueError, match=r"2 of 6 .* 5 rows.*: 'c0' \(4\), 'c3' \(4\)"):
        some(queries=4, classes=[f"c{i}" for i in range(6)])
    made = some(queries=4, short="leave_out")
    assert set(np.unique(LABELS[made.at(0)["query"]["index"]])) <= {1, 2, 4, 5}
    assert made.notes[0].startswith("left out: 2 of 6 classes")
    with pytest.raises(ValueError, match="2 classes have at least 6 rows, expected 3"):
        some(queries=5, short="leave_out")


@pytest.mark.parametrize(
    "how, message",
    [
        (dict(ways=1), "ways is 1, expected 2"),
        (dict(shots=0), "shots is 0"),
        (dict(tasks=0), "tasks is 0"),
        (dict(seed=-1), "seed is -1"),
        (dict(tasks=3, shards=2), "does not divide 3 tasks"),
        (dict(rows=[0, 1, 1]), "row 1 is named 2 times"),
        (dict(rows=[30]), "in 0..29, found 30"),
        (dict(rows=[]), "no rows"),
        (dict(groups=[1]), r"groups: expected \[30\], found \(1,\)"),
        (dict(super_classes=[1]), "one for each of 6 classes"),
        (dict(short="leave"), "nearest: leave_out"),
        (dict(ways=7), "6 classes have at least 3 rows, expected 7"),
    ],
)
def test_bad_settings_are_named(how, message):
    with pytest.raises(ValueError, match=message):
        some(**how)


def test_bad_labels_are_named():
    with pytest.raises(ValueError, match=r"class ids \[N\], found float64 \[30\]"):
        episodes({"image": IMAGES}, LABELS * 0.5)
    with pytest.raises(ValueError, match=r"row 0 has -1, expected 0 or more"):
        episodes({"image": IMAGES}, LABELS - 1)
    with pytest.raises(ValueError, match="differ in their number of rows"):
        episodes({"image": IMAGES[1:]}, LABELS)
    with pytest.raises(TypeError, match="text: expected numbers"):
        episodes({"text": ["a"] * 30}, LABELS)


SIZES = np.array([2, 3, 8, 20, 30, 40, 50, 60])
WIDE = np.repeat(np.arange(8), SIZES)


def varied(**how):
    columns = {"x": np.arange(len(WIDE), dtype=np.float32)}
    room = dict(min_ways=3, max_ways=6, max_support=40, max_queries=4, contribution=9)
    return varied_episodes(columns, WIDE, **(room | how))


def test_ways_and_shots_vary_within_static_shapes():
    """The law of Triantafillou et al. (2020): ways, queries and imbalanced shots."""
    batch = varied(tasks=600).at(0)
    support, query = batch["support"], batch["query"]
    assert support["labels"].shape == (600, 40)
    assert query["labels"].shape == (600, 24)
    check_episodes(batch, WIDE)
    ways, unequal = [], 0
    for k in range(600):
        real, asked = (s["weight"][k] > 0 for s in (support, query))
        assert (support["index"][k][~real] == -1).all()
        shots = np.bincount(support["labels"][k][real])
        queries = np.bincount(query["labels"][k][asked])
        sizes = SIZES[np.unique(WIDE[support["index"][k][real]])]
        assert shots.min() >= 1
        assert (queries == min(4, sizes.min() // 2)).all()
        assert shots.sum() <= 40
        ways.append(len(shots))
        unequal += len(set(shots)) > 1
    even(np.array(ways) - 3, np.ones(4))
    assert unequal > 300


def test_shots_are_those_of_the_formula():
    class Known:
        def random(self):
            return 0.4  # beta = .6

        def uniform(self, low, high, count):
            return np.array([low, 0.0, high])

    shape = Varied(3, 6, 30, 4, 20)
    sizes, left = np.array([10, 40, 6]), np.array([6, 36, 2])
    total = min(30, 4 + 12 + 2)  # ceil of .6 times 6, 20 and 2
    weight = np.array([0.5 * 10, 40, 2 * 6])
    wanted = [
        min(int(w / 57 * (total - 3)) + 1, n) for w, n in zip(weight, left, strict=True)
    ]
    np.testing.assert_array_equal(shape.shots(Known(), sizes, left), wanted)
    assert wanted == [2, 11, 2]


def test_bad_ranges_are_named():
    with pytest.raises(ValueError, match="max_ways is 2, expected 3"):
        varied(max_ways=2)
    with pytest.raises(ValueError, match="max_support is 5, expected 6"):
        varied(max_support=5)
