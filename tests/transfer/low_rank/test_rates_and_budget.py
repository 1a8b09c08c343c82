"""LoRA's kin by rates, published counts, and AdaLoRA's budget in a run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tl_jax.algorithms import supervised
from tl_jax.models import llama
from tl_jax.models.mlp import mlp
from tl_jax.optim import adamw, sgd
from tl_jax.transfer import (
    adalora,
    chain,
    dora,
    fold,
    freeze,
    full,
    lora,
    lora_fa,
    lora_plus,
    merge,
    orthogonality,
    partition,
    rank_budget,
    rslora,
    stack_layers,
    trainable,
    vera,
)
from tl_jax.tree import NoMatch, count, flatten
from tl_jax.types import Player

KEY = jax.random.key(0)
QV = r"blocks/\d+/attention/(query|value)"
LLAMA_3_2_3B = dict(
    vocabulary=128256, width=3072, depth=28, heads=24, kv_heads=8, hidden=8192
)
"""head_width 128 = 3072 / 24; the output layer is tied."""
PUBLISHED = {
    "lora, rank 32": (lora(32, QV), 9_175_040),
    "dora, rank 32": (dora(32, QV), 9_289_728),
    "vera, rank 256": (vera(256, QV), 129_024),
}


@pytest.mark.parametrize(("method", "wanted"), PUBLISHED.values(), ids=PUBLISHED)
def test_the_counts_published_for_llama_3_2_3b(method, wanted):
    """On queries and values, of shapes alone: not one weight is made."""
    model = llama(**LLAMA_3_2_3B, tied=True)
    kept = []

    def build(key):
        plan = chain(freeze(".*"), method)(key, full(*model.init(key)))
        kept.append(plan.rates)  # Python floats, whatever is traced
        return plan.params

    shapes = jax.eval_shape(build, KEY)
    assert count(partition(shapes, trainable(kept[0]))[0]) == wanted
    assert 3.2e9 < count(shapes) < 3.3e9


def plan_of(*methods, depth=2):
    model = mlp(6, (8,) * depth, classes=3)
    return model, chain(freeze(".*"), *methods)(KEY, full(*model.init(KEY)))


def batch_of():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((16, 6), np.float32))
    stream = {
        "inputs": {"features": x},
        "labels": jnp.asarray(rng.integers(0, 3, 16)),
        "weight": jnp.ones(16),
    }
    return {"train": stream}


def started(tx, *methods, depth=2):
    """A compiled step, the state and what is frozen of a small classifier."""
    model, plan = plan_of(*methods, depth=depth)
    players = {"model": Player(model, plan, tx)}

    def loss(outputs, stream):
        return optax.softmax_cross_entropy_with_integer_labels(
            outputs.logits, stream["labels"]
        )

    algorithm = supervised(players, loss)
    state, frozen = algorithm.init(KEY, players)
    return jax.jit(algorithm.step), state, frozen


def test_rates_are_those_of_the_method_s_own_sites():
    _, plan = plan_of(
        lora(2, "blocks/0"),
        lora_plus(2, "blocks/1", ratio=8.0),
        lora_fa(2, "head"),
    )
    rates = flatten(plan.rates)
    found = {p.split("/patch/lora/")[-1] + p[:8]: r for p, r in rates.items() if r}
    assert sorted(found.values()) == [1.0, 1.0, 1.0, 1.0, 8.0]
    assert rates["head/patch/lora/a"] == 0
    assert rates["head/patch/lora/b"] == 1
    assert [r for p, r in rates.items() if p[:8] == "blocks/1" and p[-1:] == "b"] == [8]


def test_b_moves_by_the_ratio():
    steps = []
    for ratio in (1.0, 8.0):
        step, state, frozen = started(sgd(0.1), lora_plus(2, "head", ratio=ratio))
        after, _ = step(state, frozen, batch_of(), KEY)
        own = after.train["model"]["head"]["patch"]["lora"]
        steps.append(own.b)  # from zero
    np.testing.assert_allclose(steps[1], 8 * steps[0], rtol=1e-5)
    assert np.abs(steps[0]).max() > 0


def test_what_lora_fa_freezes_neither_moves_nor_decays():
    step, state, frozen = started(adamw(0.1, weight_decay=0.5), lora_fa(2, "head"))
    a = np.asarray(frozen["model"]["head"]["patch"]["lora"].a)
    assert state.train["model"]["head"]["patch"]["lora"].a is None
    for _ in range(3):
        state, _ = step(state, frozen, batch_of(), KEY)
    assert [p for p in flatten(state.train) if not p.endswith("/b")] == []
    np.testing.assert_array_equal(frozen["model"]["head"]["patch"]["lora"].a, a)


def test_a_stable_scale_is_alpha_over_the_root():
    def scale(method):
        return plan_of(method)[1].params["head"]["patch"]["lora"].scale

    assert scale(lora(2, "head", 3.0)) == pytest.approx(1.5)
    assert scale(rslora(2, "head", 3.0)) == pytest.approx(3 / 2**0.5)


def budgeted(decay=0.1, **how):
    where = r"blocks/\d+|head"
    tx = rank_budget(adamw(0.05, weight_decay=decay, decay=".*"), 1, 8, **how)
    return started(tx, adalora(3, where), depth=2)


def values(state):
    """Singular values of all sites."""
    own = flatten(state.train["model"])
    return {p: np.asarray(x) for p, x in own.items() if p.endswith("/e")}


def test_pruned_values_are_exactly_zero_under_moments_and_decay():
    step, state, frozen = budgeted(start=1, end=3)
    left = []
    for _ in range(10):
        state, _ = step(state, frozen, batch_of(), KEY)
        left.append(sum(np.count_nonzero(e) for e in values(state).values()))
    # 9 values in three sites; by b(t) = 3 + 6 (1 - (t - 1) / 4)^3, rounded down
    assert left == [9, 9, 5, 3, 3, 3, 3, 3, 3, 3]


def test_values_come_back_until_the_end():
    step, state, frozen = budgeted(start=1, end=2, every=3)
    kept = []
    for _ in range(10):
        state, _ = step(state, frozen, batch_of(), KEY)
        kept.append(sum(np.count_nonzero(e) for e in values(state).values()))
    assert kept == [9, 9, 9, 4, 9, 9, 3, 3, 3, 3]


def test_stacked_sites_share_the_budget_alike():
    """Stacked or not, the same triplets stay."""
    plan = chain(freeze(".*"), adalora(3, r"blocks/\d+/lin"))(
        KEY,
        full({"blocks": {str(i): {"lin": {"kernel": jnp.eye(6)}} for i in range(2)}}),
    )
    tx = rank_budget(optax.sgd(0.5), 1, 4)

    def run(plan):
        train, _ = partition(plan.params, trainable(plan.rates))
        state = tx.init(train)
        for _ in range(3):
            grads = jax.tree.map(lambda x: jnp.sin(50 * x) + 0.1, train)
            updates, state = tx.update(grads, state, train)
            train = optax.apply_updates(train, updates)
        return [x for p, x in flatten(train).items() if p.endswith("/e")]

    single, stacked = run(plan), run(stack_layers(plan))
    np.testing.assert_allclose(stacked[0], np.stack(single), atol=1e-6)
    assert sum(np.count_nonzero(e) for e in single) == 2


def test_the_penalty_by_hand():
    _, plan = plan_of(adalora(3, "blocks/0"), adalora(2, "head"))
    distances = []
    for site in (plan.params["blocks"]["0"], plan.params["head"]):
        own = site["patch"]["adalora"]
        for gram in (own.p.T @ own.p, own.q @ own.q.T):
            distances.append(np.linalg.norm(gram - np.eye(len(gram))))
    found = orthogonality(plan.params)
    np.testing.assert_allclose(found, np.mean(distances), rtol=1e-6)
    found = orthogonality(plan.params, squared=True)
    np.testing.assert_allclose(found, np.mean(np.square(distances)), rtol=1e-6)
    assert orthogonality(fold(plan).params) == 0
    train, frozen = partition(plan.params, trainable(plan.rates))
    grads = flatten(jax.grad(lambda t: orthogonality(merge(t, frozen)))(train))
    assert {p[-1] for p, g in grads.items() if np.any(g)} == {"p", "q"}


def test_orthogonal_factors_have_no_penalty_and_a_finite_gradient():
    own = adalora(2, "head")(KEY, full({"head": {"kernel": jnp.eye(4)}})).params
    eye = jnp.eye(4)
    node = own["head"]["patch"]["adalora"]
    node = type(node)(eye[:, :2], node.e, eye[:2], node.scale)
    params = {"head": {"kernel": eye, "patch": {"adalora": node}}}
    value, grads = jax.value_and_grad(orthogonality)(params)
    assert value == 0
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))


def test_a_budget_of_nothing_or_above_the_rank_raises():
    _, plan = plan_of(lora(2, "head"))
    with pytest.raises(NoMatch, match="no AdaLoRA patch moves"):
        rank_budget(optax.sgd(1.0), 1, 8).init(plan.params)
    _, plan = plan_of(adalora(3, "head"))
    with pytest.raises(ValueError, match="target 4 is above"):
        rank_budget(optax.sgd(1.0), 4, 8).init(plan.params)
