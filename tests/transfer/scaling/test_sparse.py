"""Sparse updates: which coordinates move, by magnitude and by Fisher's information."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.transfer import peers
from tl_jax.algorithms import supervised
from tl_jax.losses import cross_entropy
from tl_jax.models.mlp import mlp
from tl_jax.optim import adamw
from tl_jax.transfer import (
    chain,
    fish_mask,
    fisher,
    fold,
    foldable,
    freeze,
    full,
    lora,
    magnitude_mask,
    rate,
    stack_layers,
    totals,
    unstack_layers,
)
from tl_jax.tree import NoMatch, count, flatten, put
from tl_jax.types import Player

KEY = jax.random.key(0)
MODEL = mlp(3, (4, 5), classes=2)


@pytest.fixture
def base():
    return full(*MODEL.init(jax.random.key(1)))


def examples(seed=0, rows=7):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(rows, 3)), "float32")
    return x, jnp.asarray(rng.integers(0, 2, rows))


def log_likelihood(params, example):
    x, y = example
    logits = MODEL.apply(params, {}, {"features": x[None]})[0].logits
    return jax.nn.log_softmax(logits)[0, y]


@pytest.mark.parametrize("largest", [True, False])
def test_magnitude_by_a_sort(base, largest):
    method = magnitude_mask(0.3, "head/kernel|blocks/0/kernel", largest=largest)
    node = method(KEY, base).params["patch"]["magnitude_mask"]
    assert set(flatten(node.index)) == {"head/kernel", "blocks/0/kernel"}
    for path, index in flatten(node.index).items():
        order = np.argsort(np.abs(flatten(base.params)[path]).ravel())
        k = round(0.3 * len(order))
        want = order[-k:] if largest else order[:k]
        np.testing.assert_array_equal(index, np.sort(want))
        assert flatten(node.values)[path].shape == (k,)


def test_fisher_is_the_loop(base):
    x, y = examples()
    found = flatten(jax.jit(lambda p: fisher(log_likelihood, p, (x, y)))(base.params))
    total = dict.fromkeys(found, 0.0)
    for row in range(len(x)):
        grads = jax.grad(log_likelihood)(base.params, (x[row], y[row]))
        for path, grad in flatten(grads).items():
            total[path] = total[path] + np.square(grad) / len(x)
    for path, want in total.items():
        np.testing.assert_allclose(found[path], want, rtol=1e-4, atol=1e-8)


def test_the_mask_is_of_all_leaves_together(base):
    scores = fisher(log_likelihood, base.params, examples())
    plan = chain(freeze(".*"), fish_mask(scores, 0.2))(KEY, base)
    node = plan.params["patch"]["fish_mask"]
    every = np.concatenate([np.ravel(s) for s in flatten(scores).values()])
    k = round(0.2 * every.size)
    bound = np.sort(every)[-k]
    for path, own in flatten(scores).items():
        index = flatten(node.index).get(path, np.zeros(0))
        np.testing.assert_array_equal(index, np.flatnonzero(np.ravel(own) >= bound))
    assert totals(plan)[0] == k
    # What is held beside the base: k values and k indices.
    assert totals(plan)[1] == count(base.params) + 2 * k


@pytest.fixture(scope="module")
def trained():
    """A plan of two masks, before and after three steps of AdamW."""
    base = full(*MODEL.init(jax.random.key(1)))
    scores = fisher(log_likelihood, base.params, examples())
    both = chain(
        freeze(".*"),
        fish_mask(scores, 0.2, "blocks/.*"),
        rate("head/.*", 1.0),
    )
    plan = both(KEY, base)
    player = {"model": Player(MODEL, plan, adamw(0.1, weight_decay=0.5))}

    def loss(outputs, stream):
        return cross_entropy(outputs.logits, stream["labels"])

    algorithm = supervised(player, loss, clip=0.5)
    state, frozen = algorithm.init(KEY, player)
    x, y = examples(1)
    stream = {"inputs": {"features": x}, "labels": y, "weight": jnp.ones(len(x))}
    step = jax.jit(algorithm.step)
    for _ in range(3):
        state, _ = step(state, frozen, {"train": stream}, KEY)
    train, still = state.train["model"], frozen["model"]
    merged = jax.tree.map(
        lambda a, b: b if a is None else a, train, still, is_leaf=lambda x: x is None
    )
    return plan, plan._replace(params=merged), state


def test_exactly_the_chosen_numbers_move(trained):
    plan, after, state = trained
    node = plan.params["patch"]["fish_mask"]
    before, folded = flatten(fold(plan).params), flatten(fold(after).params)
    assert foldable(after.params)
    for path, leaf in before.items():
        if path.startswith("head/"):
            continue
        changed = np.flatnonzero(np.ravel(leaf) != np.ravel(folded[path]))
        want = flatten(node.index).get(path, np.zeros(0, int))
        assert set(changed) <= set(np.asarray(want).tolist())
        assert len(changed) >= 0.8 * len(want)
    moments = optax.tree_utils.tree_get_all_with_path(state.opt, "mu")
    held = sum(count(found) for _, found in moments)
    assert held == totals(plan)[0] < 0.6 * count(plan.params)


def test_folding_is_the_same_function(trained):
    _, after, _ = trained
    x = {"features": examples()[0]}
    want = MODEL.apply(after.params, {}, x)[0].logits
    found = MODEL.apply(fold(after).params, {}, x)[0].logits
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def test_the_step_is_that_of_a_masked_gradient(base):
    """SGD of the values is SGD of the leaves with the gradient's other numbers zero."""
    plan = chain(freeze(".*"), magnitude_mask(0.4))(KEY, base)
    x, y = examples()

    def loss(params):
        logits = MODEL.apply(params, {}, {"features": x})[0].logits
        return cross_entropy(logits, y).mean()

    node = plan.params["patch"]["magnitude_mask"]

    def of_values(values):
        own = type(node)(node.index, values)
        return loss(put(plan.params, "patch/magnitude_mask", own))

    found = flatten(jax.grad(of_values)(node.values))
    full_grads = jax.grad(loss)(base.params)
    for path, index in flatten(node.index).items():
        want = np.ravel(flatten(full_grads)[path])[index]
        np.testing.assert_allclose(found[path], want, rtol=1e-5, atol=1e-7)


def test_stacked_blocks_move_row_by_row(tiny_bert, tokens):
    scores = jax.tree.map(jnp.abs, tiny_bert.params)
    plan = chain(freeze(".*"), fish_mask(scores, 0.1))(KEY, full(tiny_bert.params))
    node = plan.params["patch"]["fish_mask"]
    values = jax.tree.map(lambda v: v + 0.5, node.values)
    moved = put(plan.params, "patch/fish_mask", type(node)(node.index, values))
    sizes = {p: v.size for p, v in flatten(values).items() if "up/kernel" in p}
    assert len(set(sizes.values())) == 2
    run = jax.jit(lambda params: tiny_bert.model.apply(params, {}, tokens)[0].features)
    whole = run(moved)
    stacked = stack_layers(plan._replace(params=moved))
    assert list(stacked.params["blocks"]) == ["0-1"]
    np.testing.assert_allclose(run(stacked.params), whole, rtol=1e-5, atol=1e-5)
    folded = fold(unstack_layers(stacked)).params
    np.testing.assert_allclose(run(folded), whole, rtol=1e-5, atol=1e-5)
    assert peers.far(run(tiny_bert.params), whole) > 1e-2


def test_beside_lora(base):
    both = chain(freeze(".*"), lora(1, "blocks/.*"), magnitude_mask(0.1))
    plan = both(KEY, base)
    moved = plan._replace(
        params=jax.tree.map(
            lambda w: w + 0.3 if jnp.issubdtype(w.dtype, jnp.floating) else w,
            plan.params,
        )
    )
    x = {"features": examples()[0]}
    want = MODEL.apply(moved.params, {}, x)[0].logits
    found = MODEL.apply(fold(moved).params, {}, x)[0].logits
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_bad_shares_scores_and_rules_raise(base):
    for share in (0, 1.1):
        with pytest.raises(ValueError, match="share is .*, expected above 0"):
            magnitude_mask(share)
    with pytest.raises(NoMatch, match="magnitude_mask: where 'had/k'.*head/kernel"):
        magnitude_mask(0.1, "had/k")(KEY, base)
    with pytest.raises(ValueError, match="are missing, expected"):
        fish_mask({"head": {"kernel": base.params["head"]["kernel"]}}, 0.1)(KEY, base)
    wrong = jax.tree.map(lambda w: w[..., :1], base.params)
    with pytest.raises(ValueError, match=r"are of shape .*, expected"):
        fish_mask(wrong, 0.1)(KEY, base)
    node = magnitude_mask(0.1)(KEY, base).params["patch"]["magnitude_mask"]
    with pytest.raises(ValueError, match="the tree has no such block"):
        node.expand({"blocks": {"1": base.params["blocks"]["1"]}})
