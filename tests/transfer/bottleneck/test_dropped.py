"""AdapterDrop: which blocks act, in training at random, and removed for good."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transfer import peers
from tl_jax.models import bert, t5
from tl_jax.transfer import (
    adapter,
    adapter_drop,
    chain,
    compacter,
    drop_adapters,
    full,
    houlsby,
    pfeiffer,
    stack_layers,
)
from tl_jax.tree import NoMatch, flatten, get, put

KEY = jax.random.key(0)
INPUTS = {"tokens": jnp.arange(12).reshape(2, 6)}


@pytest.fixture(scope="module")
def model():
    """Four blocks without dropout, so that only adapters are random."""
    size = dict(vocabulary=20, width=8, depth=4, heads=2, hidden=8, positions=9)
    return bert(**size, rate=0.0, attention_rate=0.0, head_rate=0.0)


@pytest.fixture(scope="module")
def run(model):
    def features(params, key=None):
        return model.apply(params, {}, INPUTS, key=key)[0].features

    return jax.jit(features)


def moved(model, method):
    plan = method(KEY, full(*model.init(KEY)))
    noise = lambda w: w + 0.3 * jax.random.normal(KEY, w.shape)  # noqa: E731
    blocks = jax.tree.map(noise, plan.params["blocks"])
    return plan._replace(params=plan.params | {"blocks": blocks})


@pytest.fixture(scope="module")
def removed(model, run):
    """What is computed with the adapters of 0, 1, 2, 3 and 4 blocks removed."""
    plan = moved(model, pfeiffer(2))
    return [np.asarray(run(drop_adapters(n)(KEY, plan).params)) for n in range(5)]


@pytest.mark.parametrize("stacked", [False, True])
def test_a_step_draws_how_many_lower_blocks_go_without(model, run, removed, stacked):
    plan = moved(model, chain(pfeiffer(2), adapter_drop(3)))
    plan = stack_layers(plan) if stacked else plan
    drawn = set()
    for seed in range(40):
        found = run(plan.params, jax.random.key(seed))
        near = [n for n in range(5) if peers.far(found, removed[n]) < 1e-5]
        assert len(near) == 1
        drawn |= set(near)
    assert drawn == {0, 1, 2, 3}
    np.testing.assert_allclose(run(plan.params), removed[0], rtol=1e-5, atol=1e-6)


def test_a_draw_needs_no_new_program(model):
    plan = moved(model, chain(houlsby(2), adapter_drop(4)))
    traced = []

    @jax.jit
    def features(params, key):
        traced.append(0)
        return model.apply(params, {}, INPUTS, key=key)[0].features

    for seed in range(5):
        features(plan.params, jax.random.key(seed))
    assert len(traced) == 1


def test_the_number_at_rest_is_a_leaf(model, run, removed):
    plan = moved(model, chain(pfeiffer(2), adapter_drop(3)))
    assert flatten(plan.rates)["patch/adapter_drop/count"] == 0
    for count in range(5):
        node = get(plan.params, "")["patch"]["adapter_drop"]
        own = type(node)(jnp.float32(count), node.most, node.which)
        found = run(put(plan.params, "patch/adapter_drop", own))
        np.testing.assert_allclose(found, removed[count], rtol=1e-5, atol=1e-6)


def test_dropped_adapters_have_no_gradient(model):
    plan = moved(model, chain(houlsby(2), adapter_drop(3, count=2)))

    def loss(blocks):
        return model.apply(plan.params | {"blocks": blocks}, {}, INPUTS)[0].features[
            0, 0
        ]

    grads = jax.jit(jax.grad(loss))(plan.params["blocks"])
    sizes = [
        max(np.abs(g).max() for g in jax.tree.leaves(grads[b]["patch"])) for b in "0123"
    ]
    assert sizes[:2] == [0, 0]
    assert min(sizes[2:]) > 0


def test_which_ones(model, run):
    both = chain(houlsby(2), compacter(2, parts=2))
    plan = moved(model, chain(both, adapter_drop(4, "compacter_.*", count=4)))
    bare = drop_adapters(4, "compacter_.*")(KEY, plan)
    assert set(get(bare.params, "blocks/3")["patch"]) == {
        "houlsby_attention",
        "houlsby_mlp",
    }
    assert jax.tree.structure(bare.params) == jax.tree.structure(bare.rates)
    names = {"patch": {"compacter": bare.params["patch"]["compacter"]}}
    want = run(bare.params | names)
    np.testing.assert_allclose(run(plan.params), want, rtol=1e-5, atol=1e-6)


def test_bad_numbers_and_names_raise(model):
    plan = full(*model.init(KEY))
    with pytest.raises(NoMatch, match="adapter_drop: adapters '.*' matches nothing"):
        adapter_drop(2)(KEY, plan)
    for bad in (adapter_drop(5), adapter_drop(-1), adapter_drop(2, count=9)):
        with pytest.raises(ValueError, match="expected 0 to 4, the number of blocks"):
            chain(pfeiffer(2), bad)(KEY, plan)
    with pytest.raises(ValueError, match="count is 5, expected 0 to 4"):
        chain(pfeiffer(2), drop_adapters(5))(KEY, plan)
    with pytest.raises(NoMatch, match="nearest: pfeiffer_mlp"):
        chain(pfeiffer(2), drop_adapters(1, "houlsby_mlp"))(KEY, plan)


def test_an_encoder_decoder_has_adapters_behind_all_three():
    """T5's blocks are pre-norm on both sides, each counted from 0."""
    size = dict(vocabulary=20, width=8, depth=2, heads=2, head_width=4, hidden=8)
    model = t5(**size, rate=0.0)
    every = chain(
        houlsby(2), adapter(r"decoder/blocks/\d+", layers="cross"), adapter_drop(2)
    )
    plan = every(KEY, full(*model.init(KEY)))
    assert get(plan.params, "encoder/blocks/0")["patch"]["houlsby_mlp"].order == "pre"
    assert set(get(plan.params, "decoder/blocks/1")["patch"]) == {
        *("houlsby_attention", "houlsby_mlp", "adapter_cross")
    }
    noise = lambda w: w + 0.3 * jax.random.normal(KEY, w.shape)  # noqa: E731
    sides = {n: jax.tree.map(noise, plan.params[n]) for n in ("encoder", "decoder")}
    plan = plan._replace(params=plan.params | sides)
    inputs = INPUTS | {"decoder_tokens": INPUTS["tokens"][:, :3]}
    run = jax.jit(lambda params, key=None: model.apply(params, {}, inputs, key=key)[0])
    wanted = [run(drop_adapters(n)(KEY, plan).params).logits for n in range(3)]
    drawn = set()
    for seed in range(12):
        found = run(plan.params, jax.random.key(seed)).logits
        drawn |= {n for n in range(3) if peers.far(found, wanted[n]) < 1e-5}
    assert drawn == {0, 1, 2}
