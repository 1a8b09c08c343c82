"""The probe of nearest neighbours in a plan: its votes are the model's logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.estimators import nearest_head, nearest_votes
from tl_jax.models import mlp
from tl_jax.nn import dense
from tl_jax.transfer import full
from tl_jax.tree import flatten

ROWS, WIDTH, CLASSES = 12, 5, 3
HOW = {"k": 4, "vote": "plain", "temperature": 0.1}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(ROWS, WIDTH)).astype("f")
    return features, np.arange(ROWS) % CLASSES


@pytest.fixture(scope="module")
def network():
    return mlp(2, (WIDTH,), classes=CLASSES)


@pytest.fixture(scope="module")
def plan(network, rows):
    start = full(*network.init(jax.random.key(0)))
    return nearest_head(*rows, **HOW)(jax.random.key(1), start)


def inputs():
    return np.random.default_rng(1).normal(size=(7, 2)).astype("f")


def by_hand(features, labels, queries):
    """[Q C] shares of the votes of the k most similar rows, counted."""
    votes = np.zeros((len(queries), CLASSES))
    for q, query in enumerate(queries):
        near = [f @ query / np.linalg.norm(f) for f in features]
        for i in np.argsort(near)[::-1][: HOW["k"]]:
            votes[q, labels[i]] += 1 / HOW["k"]
    return votes


def test_its_logits_are_counted_votes(network, plan, rows):
    apply = jax.jit(network.apply)
    outputs, _ = apply(plan.params, plan.stats, {"features": inputs()})
    want = by_hand(*rows, np.asarray(outputs.features))
    np.testing.assert_allclose(np.exp(outputs.logits), want, atol=1e-5)
    plain, _ = network.apply(plan.params, plan.stats, {"features": inputs()})
    np.testing.assert_allclose(outputs.logits, plain.logits, rtol=1e-5, atol=1e-6)


def test_weighted_votes_and_a_batch_of_batches(rows):
    features, labels = rows
    site = {"kernel": jnp.ones((WIDTH, CLASSES)), "bias": jnp.zeros(CLASSES)}
    start = full({"head": site}, {})
    head = nearest_head(features, labels, k=5)(jax.random.key(0), start).params["head"]
    queries = np.random.default_rng(2).normal(size=(2, 3, WIDTH)).astype("f")
    found = jax.vmap(lambda x: dense(head, x))(queries)
    for one, x in zip(found, queries, strict=True):
        want = nearest_votes(features, labels, x, classes=CLASSES, k=5)
        np.testing.assert_allclose(jax.nn.softmax(one), want, atol=1e-5)


def test_nothing_of_it_moves_and_the_heads_own_weights_have_no_say(network, plan):
    assert not any(
        rate for path, rate in flatten(plan.rates).items() if "patch" in path
    )

    def loss(head):
        params = plan.params | {"head": plan.params["head"] | head}
        return network.apply(params, plan.stats, {"features": inputs()})[0].logits.sum()

    own = {name: plan.params["head"][name] for name in ("kernel", "bias")}
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(jax.grad(loss)(own)))


def test_rows_that_do_not_fit_are_refused(network, rows):
    features, labels = rows
    start = full(*network.init(jax.random.key(0)))
    with pytest.raises(ValueError, match="rows of 4 features and 3 classes do not fit"):
        nearest_head(features[:, :4], labels)(jax.random.key(0), start)
    with pytest.raises(ValueError, match="tells 3 apart"):
        nearest_head(features, labels + 2)(jax.random.key(0), start)
    deep = {"head": {**start.params["head"], "hidden": start.params["head"]}}
    with pytest.raises(ValueError, match="'head' has a hidden layer"):
        nearest_head(features, labels)(jax.random.key(0), full(deep, {}))
    with pytest.raises(ValueError, match="k is 0"):
        nearest_head(features, labels, k=0)
