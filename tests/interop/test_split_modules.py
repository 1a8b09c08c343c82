"""NNX and Equinox modules: split to sites, patched, folded in the graph."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx as fnx
from linen_modules import perturbed

from tests.interop.patches import beside
from tl_jax.algorithms import supervised
from tl_jax.interop import equinox, nnx
from tl_jax.losses import cross_entropy
from tl_jax.nn import Fixed
from tl_jax.optim import sgd
from tl_jax.transfer import chain, fold, freeze, full, lora, merge
from tl_jax.tree import flatten
from tl_jax.types import Player


class Attending(fnx.Module):
    """A user's NNX module: attention, a norm, dropout, an output layer."""

    def __init__(self, rngs):
        self.embed = fnx.Embed(20, 8, rngs=rngs)
        self.blocks = fnx.List([Mixing(rngs) for _ in range(2)])
        self.out = fnx.Linear(8, 3, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(1))


class Mixing(fnx.Module):
    def __init__(self, rngs):
        self.attention = fnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.norm = fnx.BatchNorm(8, rngs=rngs)
        self.drop = fnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return x + self.drop(self.attention(self.norm(x)))


class Plain(eqx.Module):
    """A user's Equinox module, of one picture [2 H W]."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    layers: list
    drop: eqx.nn.Dropout
    steps: jax.Array

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.conv = eqx.nn.Conv2d(2, 6, 3, key=keys[0])
        self.norm = eqx.nn.LayerNorm(6)
        self.layers = [eqx.nn.Linear(6, 8, key=keys[1])]
        self.layers += [eqx.nn.Linear(8, 3, use_bias=False, key=keys[2])]
        self.drop = eqx.nn.Dropout(0.5)
        self.steps = jnp.arange(3)

    def __call__(self, x, key=None):
        x = self.norm(jax.nn.relu(self.conv(x)).mean((1, 2)))
        x = jax.nn.gelu(self.layers[0](x))
        return self.layers[1](self.drop(x, key=key)) + self.steps


def call(module, inputs, key):
    keys = None if key is None else jax.random.split(key, len(inputs["image"]))
    return jax.vmap(module)(inputs["image"], keys)


def given(kind: str):
    """(inputs, Foreign, the module by itself as a function, sites of LoRA)."""
    rng = np.random.default_rng(0)
    if kind == "nnx":
        module = Attending(fnx.Rngs(0))
        inputs = {"tokens": jnp.asarray(rng.integers(0, 20, (4, 5)))}
        where = r"blocks/\d/attention/(query|out)|out"

        def run(module, inputs):
            module.eval()
            return module(inputs["tokens"])

        return inputs, nnx(module, inputs), module, run, where
    module = Plain(jax.random.key(0))
    image = rng.normal(size=(4, 2, 5, 5)).astype(np.float32)
    inputs = {"image": jnp.asarray(image)}

    def run(module, inputs):
        return call(eqx.nn.inference_mode(module), inputs, None)

    return inputs, equinox(module, inputs, call), module, run, "layers/[01]"


def close(got, want, most=1e-6):
    np.testing.assert_allclose(got, want, atol=most * np.abs(want).max(), rtol=0)


@pytest.mark.parametrize("kind", ["nnx", "equinox"])
def test_a_step_with_lora_is_that_of_the_folded_module(kind):
    inputs, foreign, module, run, where = given(kind)
    params, stats = foreign.load(module)
    want = run(module, inputs)
    start = full(params, stats)
    plan = chain(freeze(".*"), lora(2, where), foreign.check)(jax.random.key(1), start)
    apply = jax.jit(foreign.model.apply)
    close(apply(plan.params, plan.stats, inputs)[0].logits, want)
    plan = plan._replace(params=perturbed_patches(plan.params))
    got = apply(plan.params, plan.stats, inputs)[0].logits
    assert np.abs(got - want).max() > 0.03
    folded = fold(plan)
    close(run(foreign.dump(folded.params, folded.stats), inputs), got, 1e-5)
    players = {"model": Player(foreign.model, plan, sgd(0.1))}
    labels, ones = jnp.asarray([0, 1, 2, 1]), jnp.ones(4)

    def loss(outputs, stream):
        return cross_entropy(outputs.logits, stream["labels"])

    made = supervised(players, loss)
    state, frozen = made.init(jax.random.key(2), players)
    stream = {"inputs": inputs, "labels": labels, "weight": ones}
    new, _ = jax.jit(made.step)(state, frozen, {"train": stream}, jax.random.key(3))
    assert all("/patch/lora/" in path for path in flatten(new.train["model"]))

    def by_hand(train):
        params = merge(train, frozen["model"])
        out = foreign.model.apply(params, plan.stats, inputs, key=key, norm="batch")[0]
        return -jax.nn.log_softmax(out.logits)[jnp.arange(4), labels].mean()

    key = first_key(jax.random.key(3))
    grads = flatten(jax.jit(jax.grad(by_hand))(state.train["model"]))
    old = flatten(state.train["model"])
    for path, leaf in flatten(new.train["model"]).items():
        assert np.abs(grads[path]).max() > 1e-5
        close(leaf, old[path] - 0.1 * grads[path], 1e-5)


def first_key(key):
    """The key of a step's only stage."""
    from tl_jax.tree import stable_key

    return stable_key(key, "0")


def perturbed_patches(params):
    moved = perturbed(params)
    return jax.tree_util.tree_map_with_path(
        lambda at, a, b: b if "patch" in str(at) else a, params, moved
    )


@pytest.mark.parametrize("kind", ["nnx", "equinox"])
def test_there_and_back(kind):
    inputs, foreign, module, run, _ = given(kind)
    params, stats = foreign.load(module)
    moved = perturbed(params)
    again, _ = foreign.load(foreign.dump(moved, stats))
    got, want = flatten(again), flatten(moved)
    assert got.keys() == want.keys()
    assert all((got[path] == leaf).all() for path, leaf in want.items())
    close(
        run(foreign.dump(moved, stats), inputs), apply_of(foreign, moved, stats)(inputs)
    )


def apply_of(foreign, params, stats):
    run = jax.jit(lambda x: foreign.model.apply(params, stats, x)[0].logits)
    return run


def test_equinox_layers_are_seen_as_sites():
    _, foreign, module, _, _ = given("equinox")
    params, stats = foreign.load(module)
    assert params["conv"]["kernel"].shape == (3, 3, 2, 6)
    assert params["conv"]["bias"].shape == (6,)
    assert params["norm"]["scale"].shape == (6,)
    assert (params["layers"]["0"]["kernel"] == module.layers[0].weight.T).all()
    assert (
        params["conv"]["kernel"][1, 2, 0, 5] == module.conv.weight[5, 0, 1, 2]
    ).all()
    assert (stats[":rest"]["steps"] == jnp.arange(3)).all()


def test_nnx_heads_are_seen_with_two_axes():
    _, foreign, module, _, _ = given("nnx")
    params, stats = foreign.load(module)
    query = params["blocks"]["0"]["attention"]["query"]
    assert query["kernel"].shape == (8, 8)
    assert query["bias"].shape == (8,)
    assert set(stats) == {"blocks/0/norm", "blocks/1/norm"}


def test_nnx_batch_norms_and_dropout_go_by_the_plan():
    inputs, foreign, module, _, _ = given("nnx")
    plan = full(*foreign.load(module))
    plan = freeze("blocks/1/norm/.*")(jax.random.key(0), plan)
    apply = jax.jit(foreign.model.apply, static_argnames="norm")
    _, new = apply(plan.params, plan.stats, inputs, norm="batch")
    module.train()
    for block in module.blocks:
        block.drop.deterministic = True
    module(inputs["tokens"])
    close(new["blocks/0/norm"].mean, module.blocks[0].norm.mean[...])
    close(new["blocks/0/norm"].var, module.blocks[0].norm.var[...])
    assert isinstance(new["blocks/1/norm"], Fixed)
    assert (new["blocks/1/norm"].mean == 0).all()
    key = jax.random.key(1)
    first = apply(plan.params, plan.stats, inputs, key=key)[0].logits
    other = apply(plan.params, plan.stats, inputs, key=jax.random.key(2))[0].logits
    assert np.abs(first - other).max() > 1e-3
    close(apply(plan.params, plan.stats, inputs, key=key)[0].logits, first)


def test_equinox_dropout_needs_a_key():
    inputs, foreign, module, run, _ = given("equinox")
    params, stats = foreign.load(module)
    key = jax.random.key(1)
    got = foreign.model.apply(params, stats, inputs, key=key)[0].logits
    close(got, call(module, inputs, key))
    close(foreign.model.apply(params, stats, inputs)[0].logits, run(module, inputs))


@pytest.mark.parametrize("kind", ["nnx", "equinox"])
def test_what_does_not_fold_raises_with_its_names(kind):
    inputs, foreign, module, _, where = given(kind)
    base = full(*foreign.load(module))
    at = where.split("|")[-1].replace("[01]", "0")
    plan = beside(at, 8)(jax.random.key(0), base)
    match = f"those that fold; left: {at}/patch/beside .Beside at branch"
    with pytest.raises(ValueError, match=match):
        foreign.check(jax.random.key(0), plan)
    with pytest.raises(ValueError, match=match):
        foreign.model.apply(plan.params, plan.stats, inputs)


def test_an_equinox_norm_with_a_state_raises():
    module, _ = eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, "batch", mode="ema")
    with pytest.raises(ValueError, match="keeps a state outside the module"):
        equinox(module, {"x": jnp.ones((2, 3))}, call)
