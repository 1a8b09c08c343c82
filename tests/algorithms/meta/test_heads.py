"""Laws of all learners whose head is computed from the support set."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import player
from headed import (
    CASES,
    LEARNING,
    WAYS,
    case,
    crossed,
    one_by_one,
    overlapping,
    started,
)

from tl_jax.algorithms.meta import Head, learned, on_model
from tl_jax.algorithms.meta.classes import ABSENT, class_means
from tl_jax.models import values
from tl_jax.tree import flatten, paths


@pytest.mark.parametrize("name", CASES)
def test_compiled_and_over_tasks_is_one_by_one(name):
    made, batch = case(name), overlapping()
    want = one_by_one(made, batch)
    assert want.shape == (2, 12, WAYS)
    for tasks in ("vmap", "map"):
        algorithm, state, frozen = started(made, tasks=tasks)
        found = jax.jit(algorithm.predict)(state, frozen, batch).logits
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_padding_and_absent_classes_change_nothing(name):
    """Rows of weight 0 with wild values, and a class more than there are."""
    batch = overlapping()
    algorithm, state, frozen = started(case(name))
    first = jax.jit(algorithm.predict)(state, frozen, batch).logits
    wild = padded(batch)
    algorithm, state, frozen = started(case(name, WAYS + 1))
    second = jax.jit(algorithm.predict)(state, frozen, wild).logits
    assert second.shape == (2, 12, WAYS + 1)
    np.testing.assert_array_equal(second[..., WAYS], ABSENT)
    np.testing.assert_allclose(second[..., :WAYS], first, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", LEARNING)
def test_a_task_that_is_all_padding_counts_nothing(name):
    """Beside it the other's gradient is what two of the other give."""
    made, batch = case(name), overlapping()
    algorithm, state, frozen = started(made, tasks="map")
    step, key = jax.jit(algorithm.step), jax.random.key(1)
    twice = jax.tree.map(lambda x: np.stack([x[0], x[0]]), batch)
    for part in batch.values():
        part["weight"][1] = 0
    ends = [step(state, frozen, b, key)[0].train for b in (batch, twice)]
    for one, two in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)


def uneven(outputs, stream):
    """A loss that feels a constant added to all logits."""
    return crossed(outputs, stream) + 0.05 * jnp.square(outputs.logits).sum(-1)


def padded(batch):
    """Two more support rows of weight 0: one wild, one that names no class."""
    support = jax.tree.map(lambda x: np.concatenate([x[:, :1], x, x[:, :1]], 1), batch)
    support = support["support"]
    support["inputs"]["features"][:, 0] = 50.0
    support["labels"][:, 0], support["labels"][:, -1] = 1, -1
    support["weight"][:, [0, -1]] = 0
    return {"support": support, "query": batch["query"]}


@pytest.mark.parametrize("name", LEARNING)
def test_every_leaf_gets_the_gradient_of_finite_differences(name):
    """In float64, along a random direction of each player."""
    with jax.enable_x64(True):
        algorithm, state, frozen = started(case(name), uneven)
        batch, key = overlapping(queries=2), jax.random.key(1)
        step = jax.jit(algorithm.step)
        after, _ = step(state, frozen, batch, key)
        found = jax.tree.map(lambda a, b: a - b, state.train, after.train)
        assert paths(found) == paths({n: state.train[n] for n in found})
        for path, gradient in flatten(found).items():
            assert np.abs(gradient).max() > 0, path
        rng, small = np.random.default_rng(0), 1e-5
        for who, own in state.train.items():
            along = jax.tree.map(lambda x: rng.normal(size=x.shape), own)
            ends = []
            for side in (small, -small):
                moved = jax.tree.map(lambda x, d, s=side: x + s * d, own, along)
                train = state.train | {who: moved}
                at = state._replace(train=train)
                ends.append(step(at, frozen, batch, key)[1]["loss"])
            slopes = jax.tree.map(lambda g, d: (g * d).sum(), found[who], along)
            wanted = (ends[0] - ends[1]) / (2 * small)
            np.testing.assert_allclose(sum(jax.tree.leaves(slopes)), wanted, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_label_that_names_no_class_shows(name):
    batch = overlapping()
    made = case(name)
    batch["support"]["labels"] = batch["support"]["labels"].copy()
    batch["support"]["labels"][0, 0] = WAYS
    logits = one_by_one(made, batch)
    assert np.isnan(logits[0]).all()
    assert np.isfinite(logits[1]).all()


@pytest.mark.parametrize("norm", ["transductive", "support", "running"])
def test_whose_statistics_are_used(norm):
    """Only "transductive" lets a query see the others; only "running" moves any."""
    made = case("prototypical", norm=norm, body={"batch_norms": True})
    algorithm, state, frozen = started(made)
    batch = overlapping()
    other = {**batch, "query": jax.tree.map(np.copy, batch["query"])}
    other["query"]["inputs"]["features"][:, 1:] += 3.0
    predict = jax.jit(algorithm.predict)
    first, second = (predict(state, frozen, b).logits[:, 0] for b in (batch, other))
    assert np.allclose(first, second, atol=1e-6) == (norm != "transductive")
    after, _ = jax.jit(algorithm.step)(state, frozen, batch, jax.random.key(1))
    before, now = state.memory["stats"], after.memory["stats"]
    same = all(map(np.array_equal, *map(jax.tree.leaves, (before, now))))
    assert same == (norm != "running")


def test_means_by_class_weigh_rows():
    x = np.arange(8.0).reshape(4, 2)
    member = np.array([[1, 0, 0], [3, 0, 0], [0, 0, 2], [0, 0, 0]], float)
    found = class_means(jnp.asarray(x), jnp.asarray(member))
    wanted = [(x[0] + 3 * x[1]) / 4, [0, 0], x[2]]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_learned_numbers_are_leaves_of_a_player():
    leaves = {"adjust": {"scale": jnp.float32(0.5), "bias": jnp.float32(-2.0)}}
    assert learned("bias")(leaves) == -2.0
    np.testing.assert_allclose(
        learned("scale", positive=True)(leaves), np.exp(0.5), rtol=1e-6
    )
    model = values(scale=0.5, mean=np.ones(3))
    params, _ = model.init(jax.random.key(0))
    row, _ = model.apply(params, {}, {})
    np.testing.assert_array_equal(row.features, [[1, 1, 1, 0.5]])
    assert model.width == 4


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="ways is 1, expected 2 or more"):
        case("prototypical", 1)
    with pytest.raises(ValueError, match=r"distance 'cosin'.*cosine"):
        case("prototypical", distance="cosin")
    with pytest.raises(ValueError, match="temperature is -1.0, expected a number"):
        case("prototypical", temperature=-1.0)
    with pytest.raises(ValueError, match=r"norm 'suport'.*support"):
        case("r2d2", norm="suport")
    made = case("r2d2")
    players = {"modle": made.players["model"], "adjust": made.players["adjust"]}
    with pytest.raises(ValueError, match=r"player 'model'.*modle"):
        one_by_one(made._replace(players=players), overlapping())
    less = {**made.players, "adjust": player(values(strenght=0.0), None)}
    with pytest.raises(ValueError, match=r"path 'strength'.*strenght"):
        one_by_one(made._replace(players=less), overlapping())
    with pytest.raises(ValueError, match="no value is named"):
        values()


def test_a_head_of_ones_own():
    """`on_model` makes a learner of any two functions: here, the first class wins."""
    made = case("prototypical")
    head = Head(
        lambda params_of, outputs, support: outputs.features.sum(),
        lambda fitted, outputs: jnp.eye(WAYS)[jnp.zeros(len(outputs.features), int)],
    )
    model = made.players["model"].model
    own = made._replace(learner=on_model(model, head))
    found = one_by_one(own, overlapping())
    assert (found.argmax(-1) == 0).all()
