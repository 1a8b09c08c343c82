"""Linen modules that know nothing of patches, and what patches make of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linen_modules import Transformer, perturbed, tokens

from tests.interop.patches import beside, times
from tl_jax.algorithms import supervised
from tl_jax.interop import linen, over_layers
from tl_jax.losses import cross_entropy
from tl_jax.optim import sgd
from tl_jax.transfer import (
    chain,
    fold,
    freeze,
    full,
    ia3,
    lora,
    merge,
    prefix,
)
from tl_jax.tree import NoMatch, flatten
from tl_jax.types import Player

LAYERS = "attention/(query|value|out)|mlp/(up|down)"
KINDS = ("plain", "remat", "jit", "scan")


def lora_of(kind: str, **settings):
    """LoRA beside every layer but one of a transformer's blocks."""
    if kind == "scan":
        own = lora(2, f"layers/block/({LAYERS})", **settings)
        return over_layers("layers", own)
    return lora(2, f"blocks_./({LAYERS})", **settings)


def wrapped(kind: str = "plain", rate: float = 0.0):
    """(module, its Foreign, its own variables)."""
    module = Transformer(kind, rate)
    variables = module.init(jax.random.key(0), tokens()["tokens"])
    return module, linen(module, tokens()), variables


def close(got, want, most=1e-6):
    np.testing.assert_allclose(got, want, atol=most * np.abs(want).max(), rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_transformer_with_lora_is_its_folded_self(kind):
    module, foreign, variables = wrapped(kind)
    params, stats = foreign.load(variables)
    x, run = tokens(), jax.jit(foreign.model.apply)
    raw = jax.jit(module.apply)
    want = raw(variables, x["tokens"])
    plan = chain(freeze(".*"), lora_of(kind), foreign.check)(
        jax.random.key(1), full(params, stats)
    )
    close(run(plan.params, stats, x)[0].logits, want)
    moved = plan._replace(params=perturbed(plan.params))
    got = run(moved.params, stats, x)[0].logits
    assert np.abs(got - want).max() > 0.1
    plain = foreign.dump(fold(moved).params, stats)
    close(got, raw(plain, x["tokens"]), 1e-5)
    if kind == "plain":
        close(foreign.model.apply(moved.params, stats, x)[0].logits, got, 1e-5)


def stepped(foreign, plan):
    """(plan's moving leaves, the same after a step of SGD at 0.1, frozen, labels)."""
    players = {"model": Player(foreign.model, plan, sgd(0.1))}

    def loss(outputs, stream):
        return cross_entropy(outputs.logits, stream["labels"])

    labels = jnp.asarray([0, 1, 2, 1])
    stream = {"inputs": tokens(), "labels": labels, "weight": jnp.ones(4)}
    made = supervised(players, loss)
    state, frozen = made.init(jax.random.key(2), players)
    new, _ = jax.jit(made.step)(state, frozen, {"train": stream}, jax.random.key(3))
    return state.train["model"], new.train["model"], frozen["model"], labels


METHODS = {
    "lora": lora(2, f"blocks_./({LAYERS})"),
    "ia3": ia3("blocks_./(attention/(key|value)|mlp/down)"),
    "lora in layers": over_layers("layers", lora(2, f"layers/block/({LAYERS})")),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_that_of_the_folded_module(method):
    module, foreign, variables = wrapped("scan" if "layers" in method else "plain")
    start = full(*foreign.load(variables))
    plan = chain(freeze(".*"), METHODS[method])(jax.random.key(1), start)
    plan = plan._replace(params=perturbed(plan.params))
    old, got, frozen, labels = stepped(foreign, plan)

    def by_hand(train):
        own = plan._replace(params=merge(train, frozen))
        logits = module.apply(foreign.dump(fold(own).params, {}), tokens()["tokens"])
        return -jax.nn.log_softmax(logits)[jnp.arange(4), labels].mean()

    grads = flatten(jax.jit(jax.grad(by_hand))(old))
    old, got = flatten(old), flatten(got)
    assert got.keys() == grads.keys()
    assert all("/patch/" in path for path in got)
    for path, leaf in got.items():
        assert np.abs(grads[path]).max() > 1e-4
        close(leaf, old[path] - 0.1 * grads[path], 1e-5)


def test_parameters_go_there_and_back():
    _, foreign, variables = wrapped()
    params, stats = foreign.load(variables)
    assert params["blocks_0"]["attention"]["query"]["kernel"].shape == (16, 16)
    back = flatten(foreign.dump(params, stats))
    want = flatten(variables)
    assert back.keys() == want.keys()
    assert all((back[p] == leaf).all() for p, leaf in want.items())
    fresh = flatten(foreign.model.init(jax.random.key(3))[0])
    assert fresh.keys() == flatten(params).keys()


@pytest.mark.parametrize("kind", ["plain", "scan"])
def test_a_branch_reads_the_input_of_its_module(kind):
    _, foreign, variables = wrapped(kind)
    x, params = tokens(), foreign.load(variables)[0]
    at = "layers/block" if kind == "scan" else "blocks_1"
    own = beside(f"{at}/mlp", 16)
    own = over_layers("layers", own) if kind == "scan" else own
    plan = chain(freeze(".*"), own, foreign.check)(jax.random.key(0), full(params))
    run = jax.jit(lambda p: foreign.model.apply(p, {}, x)[0].logits)
    close(run(plan.params), run(params))
    moved = perturbed(plan.params)
    assert np.abs(run(moved) - run(params)).max() > 0.1


def test_several_adapters_by_vmap():
    _, foreign, variables = wrapped()
    base = full(*foreign.load(variables))
    made = [lora_of("plain")(jax.random.key(i), base).params for i in range(3)]
    made = [perturbed(params, i) for i, params in enumerate(made)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)

    def run(params):
        return foreign.model.apply(params, {}, tokens())[0].logits

    for got, params in zip(jax.jit(jax.vmap(run))(stacked), made, strict=True):
        close(got, run(params), 1e-5)


def test_dropout_is_the_modules_own_and_the_branchs():
    module, foreign, variables = wrapped(rate=0.5)
    params, key, x = foreign.load(variables)[0], jax.random.key(5), tokens()
    rngs = {"dropout": key}
    want = jax.jit(lambda v: module.apply(v, x["tokens"], True, rngs=rngs))(variables)
    run = jax.jit(foreign.model.apply, static_argnames="norm")
    close(run(params, {}, x, key=key)[0].logits, want)
    still = run(params, {}, x, norm="batch")[0].logits
    close(still, jax.jit(module.apply)(variables, x["tokens"]))
    plan = lora(2, "blocks_1/mlp/up", rate=0.5)(jax.random.key(0), full(params))
    same = run(plan.params, {}, x, key=key)[0].logits
    close(same, want)  # b is zero, and the module's own draws are what they were


def test_dropout_of_a_branch_draws_in_each_layer():
    _, foreign, variables = wrapped("scan")
    base = full(*foreign.load(variables))
    plan = lora_of("scan", rate=0.5)(jax.random.key(1), base)
    params, x = perturbed(plan.params), tokens()
    run = jax.jit(lambda key: foreign.model.apply(params, {}, x, key=key)[0].logits)
    one, two = run(jax.random.key(0)), run(jax.random.key(1))
    assert np.abs(one - two).max() > 1e-2
    close(one, run(jax.random.key(0)))


def test_what_nobody_serves_raises_with_its_names():
    _, foreign, variables = wrapped()
    base = full(*foreign.load(variables))
    key = jax.random.key(0)
    kv = prefix(2, r"blocks_1/attention")
    with pytest.raises(ValueError, match="'blocks_1/attention/patch/prefix'.*'kv'"):
        chain(kv, foreign.check)(key, base)
    with pytest.raises(ValueError, match="serves output, branch there"):
        foreign.model.apply(kv(key, base).params, {}, tokens())
    wrong = times("head", "product")(key, base).params
    wrong = {"haed": wrong["head"]} | {n: v for n, v in wrong.items() if n != "head"}
    with pytest.raises(ValueError, match="calls no module at 'haed'; nearest: head"):
        foreign.model.apply(wrong, {}, tokens())
    with pytest.raises(ValueError, match="head/patch/times"):
        foreign.dump(times("head", "product")(key, base).params, {})
    with pytest.raises(NoMatch, match="field 'token' matches nothing; nearest: tokens"):
        linen(Transformer(), {"token": jnp.ones((1, 2), int), "train": jnp.ones(1)})
