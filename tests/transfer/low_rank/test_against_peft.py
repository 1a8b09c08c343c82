"""Every low-rank method against PEFT: counts, starts, outputs, one step of SGD."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tl_jax import nn, pretrained
from tl_jax.transfer import (
    adalora,
    chain,
    dora,
    freeze,
    full,
    loha,
    lokr,
    lora,
    merge,
    olora,
    orthogonality,
    partition,
    pissa,
    rank_budget,
    rslora,
    trainable,
    vera,
)
from tl_jax.tree import flatten, unflatten

QV = r"blocks/\d+/attention/(query|value)"
UP = r"blocks/\d+/mlp/up"
RATE = 0.1
METHODS = {
    "lora": lora(2, QV, 3.0),
    "rslora": rslora(2, QV, 3.0),
    "dora": dora(2, QV, 3.0),
    "pissa": pissa(2, QV, 3.0),
    "olora": olora(2, QV, 3.0),
    "words": lora(2, "embed/tokens", 3.0, leaf="embedding"),
    "adalora": adalora(3, QV, 3.0),
    "vera": vera(5, f"{QV}|{UP}"),
    "loha": loha(2, QV, 3.0),
    "lokr": lokr(1, QV, 3.0),
    "lokr_both": lokr(1, QV, 3.0, both=True),
    "lokr_whole": lokr(4, UP, 3.0),
}
CONVOLUTIONS = {
    "conv_lora": lora(2, "conv", 3.0),
    "conv_dora": dora(2, "conv", 3.0),
    "conv_loha": loha(2, "conv", 3.0),
    "conv_loha_cores": loha(2, "conv", 3.0, effective=True),
    "conv_lokr": lokr(1, "conv", 3.0),
    "conv_lokr_cores": lokr(1, "conv", 3.0, effective=True),
}
PATCH = re.compile(r"/?patch/\w+")


@pytest.fixture(scope="module")
def recorded(golden):
    """`<case>/<what>` -> what PEFT computed."""
    with np.load(golden / "peft_low_rank.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def base(golden):
    return pretrained.load(golden / "bert" / "bert_sequence")


@pytest.fixture(scope="module")
def inputs(golden):
    with np.load(golden / "bert.npz") as file:
        names = ("tokens", "mask", "types")
        return {name: file[f"bert_sequence/{name}"] for name in names}


def part(recorded, prefix):
    """What stands below a prefix."""
    own = {k: v for k, v in recorded.items() if k.startswith(f"{prefix}/")}
    return {k.removeprefix(f"{prefix}/"): v for k, v in own.items()}


def plain(path):
    """A path less the patch's name: `site/field`, as it was recorded."""
    return PATCH.sub("", path).removeprefix("/")


def own_leaves(params):
    """`site/field` -> leaf of every patch, but for scales."""
    found = {p: x for p, x in flatten(params).items() if "patch/" in p}
    return {plain(p): x for p, x in found.items() if not p.endswith("/scale")}


def with_values(params, values):
    """The parameters with what was recorded in their patches."""
    known = {plain(p) for p in flatten(params) if "patch/" in p}
    assert set(values) <= known
    leaves = [
        jnp.asarray(values.get(plain(p), x)) if "patch/" in p else x
        for p, x in flatten(params).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def near(found, expected, tolerance=1e-5):
    """max|difference| within a share of max|expected|."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def weights_for(shape):
    return np.random.default_rng(5).standard_normal(shape, np.float32)


def compare(plan, run, expected, out):
    """Counts, starts, outputs and the update against one case's arrays."""
    before, after = part(expected, "before"), part(expected, "after")
    start, own = part(expected, "start"), own_leaves(plan.params)
    assert set(own) == set(before)
    for path, x in start.items():
        assert own[path].shape == x.shape
        assert (not np.any(own[path])) == (not np.any(x)), path
    train, _ = partition(plan.params, trainable(plan.rates))
    assert sum(x.size for x in jax.tree.leaves(train)) == expected["count"]
    params = with_values(plan.params, before)
    train, frozen = partition(params, trainable(plan.rates))

    def loss(train):
        y = run(merge(train, frozen))
        return (y * weights_for(y.shape)).sum(), y

    (_, y), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(train)
    near(y, expected[out])
    moved = own_leaves(jax.tree.map(lambda w, g: w - RATE * g, train, grads))
    assert moved
    for path, x in moved.items():
        # torch gives the row of the padding index, 0, no gradient; JAX has no such row
        rows = slice(1 if path == "embed/tokens/a" else 0, None)
        x, old, new = (np.asarray(v)[rows] for v in (x, before[path], after[path]))
        near(x - old, new - old, 5e-5)
        near(x, new)


@pytest.mark.parametrize("case", METHODS)
def test_a_transformer_agrees_with_peft(case, base, inputs, recorded):
    method = chain(freeze(".*"), METHODS[case])
    plan = method(jax.random.key(0), full(base.params))

    def run(params):
        return base.model.apply(params, {}, inputs)[0].logits

    compare(plan, run, part(recorded, case), "logits")


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_agrees_with_peft(case, recorded):
    expected = part(recorded, case)
    params = {"conv": {name: expected[name] for name in ("kernel", "bias")}}
    method = chain(freeze(".*"), CONVOLUTIONS[case])
    plan = method(jax.random.key(0), full(jax.tree.map(jnp.asarray, params)))
    x = np.random.default_rng(3).standard_normal((2, 7, 8, 4), np.float32)

    def run(params):
        return nn.conv(params["conv"], jnp.asarray(x), stride=2, padding=1)

    compare(plan, run, expected, "y")


@pytest.mark.parametrize("case", ["pissa", "olora"])
def test_what_is_taken_out_is_what_peft_takes(case, base, recorded):
    plan = METHODS[case](jax.random.key(0), full(base.params))
    own, start = own_leaves(plan.params), part(recorded, f"{case}/start")
    for path in (p for p in start if p.endswith("/a")):
        other = f"{path[:-2]}/b"
        near(own[path] @ own[other], start[path] @ start[other])


def test_magnitudes_and_vectors_begin_as_in_peft(base, recorded):
    for case, ends in (("dora", ("magnitude",)), ("vera", ("/d", "/b"))):
        plan = METHODS[case](jax.random.key(0), full(base.params))
        own, start = own_leaves(plan.params), part(recorded, f"{case}/start")
        chosen = [p for p in start if p.endswith(ends)]
        assert len(chosen) == {"dora": 4, "vera": 12}[case]
        for path in chosen:
            np.testing.assert_allclose(own[path], start[path], rtol=1e-6)


def test_the_penalty_is_peft_s(base, recorded):
    plan = METHODS["adalora"](jax.random.key(0), full(base.params))
    params = with_values(plan.params, part(recorded, "adalora/before"))
    near(orthogonality(params), recorded["adalora/penalty"])


def test_ranks_are_pruned_as_by_peft_s_allocator(base, inputs, recorded):
    """Twelve steps of SGD: warm-up, pruning every second step, what stays, stays."""
    plan = chain(freeze(".*"), METHODS["adalora"])(jax.random.key(0), full(base.params))
    params = with_values(plan.params, part(recorded, "adalora/pruning"))
    train, frozen = partition(params, trainable(plan.rates))
    tx = rank_budget(optax.sgd(RATE), 1, 10, start=2, end=3, every=2)

    def loss(train):
        y = base.model.apply(merge(train, frozen), {}, inputs)[0].logits
        return (y * weights_for(y.shape)).sum()

    @jax.jit
    def step(train, state):
        updates, state = tx.update(jax.grad(loss)(train), state, train)
        return optax.apply_updates(train, updates), state

    state, rows = tx.init(train), []
    for _ in range(12):
        train, state = step(train, state)
        own = own_leaves(train)
        rows.append({p: np.asarray(x) for p, x in own.items() if p.endswith("/e")})
    expected = part(recorded, "adalora/steps")
    assert len(expected) == 4
    for path, values in expected.items():
        found = np.stack([row[path] for row in rows])
        np.testing.assert_array_equal(found == 0, values == 0)
        near(found, values, 1e-4)
    pruned = unflatten({p: x[-1] for p, x in expected.items()})
    assert sum(np.count_nonzero(x) for x in jax.tree.leaves(pruned)) == 4


@pytest.mark.parity
def test_the_record_is_what_peft_computes_now(recorded):
    pytest.importorskip("peft")
    import record_peft_low_rank

    found = record_peft_low_rank.recorded()
    assert set(found) == set(recorded)
    for name, expected in recorded.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-5, err_msg=name)
