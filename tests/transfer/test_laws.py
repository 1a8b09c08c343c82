"""The laws that every transform of plans obeys. A new transform joins `METHODS`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.algorithms import supervised
from tl_jax.losses import cross_entropy
from tl_jax.optim import adamw
from tl_jax.transfer import (
    adalora,
    adapter,
    bitfit,
    blocks,
    chain,
    compacter,
    context,
    describe,
    discriminative,
    dora,
    fold,
    foldable,
    freeze,
    houlsby,
    ia3,
    invertible,
    layer_norms,
    layerwise,
    loha,
    lokr,
    lora,
    lora_fa,
    lora_plus,
    magnitude_mask,
    merge,
    p_tuning,
    parallel_adapter,
    partition,
    pfeiffer,
    prefix,
    prompt,
    rate,
    rslora,
    stack_layers,
    trainable,
    unstack_layers,
    vera,
    warp,
)
from tl_jax.tree import flatten, paths
from tl_jax.types import Player

QV = r"blocks/\d+/attention/(query|value)"
GRAFTS = {
    "lora": lora(2, QV),
    "lora everywhere": lora(2, ".*"),
    "lora in one block": lora(2, "blocks/1/mlp/up", rate=0.1),
    "lora's kin": chain(
        lora_plus(2, ".*/query", ratio=4.0), lora_fa(2, ".*/key"), rslora(2, ".*/value")
    ),
    "lora of tables": chain(
        lora(2, "embed/types", leaf="embedding"),
        lora(2, "embed/tokens", leaf="embedding", tied=True),
    ),
    "dora, then lora": chain(dora(2, ".*"), lora(2, QV)),
    "adalora": adalora(3, QV),
    "vera": vera(5, f"{QV}|blocks/1/mlp/(up|down)"),
    "loha": loha(2, QV),
    "lokr": chain(lokr(1, ".*"), lokr(1, QV, factor=2, both=True, name="second")),
    "context": context(3, QV),
    "film": context(3, "blocks/1/.*/(up|norm.*|query)|blocks/0/norm_mlp", form="film"),
    "warp": warp(f"{QV}|head"),
    "ia3": ia3(),
    "the largest numbers": magnitude_mask(0.1),
    "houlsby": houlsby(4, init="zero"),
    "pfeiffer": pfeiffer(4, init="zero"),
    "parallel": parallel_adapter(activation="tanh"),
    "compacter": compacter(2),
    "invertible": invertible(init="zero"),
    "adapters on others": chain(
        lora(2, QV),
        ia3(),
        houlsby(2, init="zero"),
        adapter(".*/[02]", scale="channel", init="zero", activation="tanh"),
    ),
    "two of them": chain(lora(2, QV), lora(3, QV, name="second")),
}
STAY = {
    *("compacter", "invertible", "houlsby", "pfeiffer", "parallel"),
    "adapters on others",
}
"""Grafts that compute what no kernel can: `fold` leaves them."""
METHODS = GRAFTS | {
    "identity": chain(),
    "freeze all but the head": chain(freeze(".*"), rate("head/.*", 1.0)),
    "bias only": chain(freeze(".*"), rate(".*/bias", 1.0)),
    "two rates": chain(freeze(".*"), rate("blocks/1/.*", 0.1), rate("head/.*", 2.0)),
    "layer-wise": layerwise(0.5),
    "bitfit": chain(freeze(".*"), bitfit(), rate("head/.*", 1.0)),
    "layer norms": chain(freeze(".*"), layer_norms()),
    "surgical": chain(freeze(".*"), blocks(0, 1), rate("head/.*", 1.0)),
    "discriminative": discriminative(),
    "lora on a frozen base": chain(freeze(".*"), lora(2, QV), rate("head/.*", 1.0)),
}
PROMPTS = {
    "prompt": prompt(3, init="vocabulary"),
    "prefix": prefix(3, r"blocks/[12]/attention"),
    "prefix by a network": prefix(3, hidden=4, shift=True),
    "p-tuning": p_tuning(3, form="lstm", hidden=4),
}
"""These change the function from the start and do not fold."""
METHODS |= PROMPTS


@pytest.fixture(scope="module")
def run(model):
    return jax.jit(lambda params, inputs: model.apply(params, {}, inputs)[0].logits)


@pytest.fixture(scope="module", params=METHODS)
def plan(request, base):
    return METHODS[request.param](jax.random.key(2), base)


@pytest.fixture(scope="module", params=GRAFTS)
def grafted(request, base):
    return GRAFTS[request.param](jax.random.key(2), base)


def same(a, b):
    """True if two trees have equal structure and bytes."""
    first, second = flatten(a), flatten(b)
    return first.keys() == second.keys() and all(
        np.asarray(first[p]).tobytes() == np.asarray(second[p]).tobytes() for p in first
    )


def perturbed(plan):
    """Values that no initialiser makes, so that zeros hide nothing."""
    rng = np.random.default_rng(9)

    def move(x):
        noise = 0.05 * rng.standard_normal(x.shape, np.float32)
        return x + noise if jnp.issubdtype(x.dtype, jnp.floating) else x

    return plan._replace(params=jax.tree.map(move, plan.params))


def test_merge_undoes_partition(plan):
    assert same(merge(*partition(plan.params, trainable(plan.rates))), plan.params)


def test_rates_have_the_structure_of_params(plan):
    assert jax.tree.structure(plan.params) == jax.tree.structure(plan.rates)
    assert all(type(r) is float for r in jax.tree.leaves(plan.rates))


def test_fresh_grafts_leave_the_function_alone(grafted, base, batch, run):
    before = run(base.params, batch["inputs"])
    after = run(grafted.params, batch["inputs"])
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("method", (GRAFTS | PROMPTS).values(), ids=GRAFTS | PROMPTS)
def test_base_is_a_strict_subset(method, base):
    new = flatten(method(jax.random.key(2), base).params)
    assert set(flatten(base.params)) < set(new)
    assert all(new[path] is leaf for path, leaf in flatten(base.params).items())


def test_nothing_mutates_its_input(base):
    before = (paths(base.params), flatten(base.rates))
    for method in METHODS.values():
        method(jax.random.key(2), base)
    assert before == (paths(base.params), flatten(base.rates))


@pytest.mark.parametrize("method", (GRAFTS | PROMPTS).values(), ids=GRAFTS | PROMPTS)
def test_another_transform_changes_no_random_value(method, base):
    key = jax.random.key(2)
    alone = flatten(method(key, base).params)
    more = chain(lora(1, "blocks/0/mlp/down", name="other"), freeze(".*"), method)
    beside = flatten(more(key, base).params)
    assert all(same({"x": beside[p]}, {"x": leaf}) for p, leaf in alone.items())


@pytest.mark.parametrize("name", GRAFTS)
def test_fold_preserves_outputs_and_restores_the_structure(name, base, batch, run):
    moved = perturbed(GRAFTS[name](jax.random.key(2), base))
    folded = fold(moved)
    assert foldable(moved.params) == (name not in STAY)
    if name not in STAY:
        assert jax.tree.structure(folded.params) == jax.tree.structure(base.params)
        assert flatten(folded.rates) == flatten(base.rates)
    want = run(moved.params, batch["inputs"])
    got = run(folded.params, batch["inputs"])
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("method", PROMPTS.values(), ids=PROMPTS)
def test_prompts_stay_where_others_fold(method, base, batch, run):
    both = chain(lora(2, QV), method)(jax.random.key(2), base)
    moved = perturbed(both)
    folded = fold(moved)
    assert not foldable(moved.params)
    own = {p for p in flatten(both.params) if "patch/" in p and "/lora/" not in p}
    assert {p for p in flatten(folded.params) if "patch/" in p} == own
    want = run(moved.params, batch["inputs"])
    got = run(folded.params, batch["inputs"])
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    before = run(fold(perturbed(base)).params, batch["inputs"])
    assert np.abs(got - before).max() > 1e-4


@pytest.fixture(scope="module")
def trained(plan, model, batch):
    """The states before and after two clipped steps, and the first one's metrics."""
    players = {"model": Player(model, plan, adamw(1e-2, weight_decay=0.1))}

    def loss(outputs, stream):
        return cross_entropy(outputs.logits, stream["labels"])

    algorithm = supervised(players, loss, clip=1e-3)
    start, frozen = algorithm.init(jax.random.key(3), players)
    step, key = jax.jit(algorithm.step), jax.random.key(4)
    state, metrics = step(start, frozen, {"train": batch}, key)
    end, _ = step(state, frozen, {"train": batch}, key)
    return start, end, frozen, metrics


def test_training_moves_what_is_trainable_and_nothing_else(plan, trained):
    start, end, frozen, _ = trained
    want = {p for p, r in flatten(plan.rates).items() if r}
    before, after = flatten(start.train["model"]), flatten(end.train["model"])
    assert set(before) == set(after) == want
    assert [p for p in want if same({"x": before[p]}, {"x": after[p]})] == []
    merged = flatten(merge(end.train["model"], frozen["model"]))
    fixed = {p: leaf for p, leaf in flatten(plan.params).items() if p not in want}
    assert all(same({"x": merged[p]}, {"x": leaf}) for p, leaf in fixed.items())


def test_only_moving_leaves_have_moments(trained):
    _, end, _, _ = trained
    moves = sum(map(np.size, jax.tree.leaves(end.train)))
    counts = sum(np.ndim(x) == 0 for x in jax.tree.leaves(end.opt))
    assert sum(map(np.size, jax.tree.leaves(end.opt))) == 2 * moves + counts
    assert counts == (1 if moves else 0)


def test_the_clipped_norm_counts_moving_leaves_only(plan, batch, trained, run):
    def loss(params):
        logits = run(params, batch["inputs"])
        return cross_entropy(logits, batch["labels"]).mean()

    grads = flatten(jax.grad(loss, allow_int=True)(plan.params))
    squares = [np.square(grads[p]).sum() for p, r in flatten(plan.rates).items() if r]
    norm = trained[-1]["gradient_norm"]
    np.testing.assert_allclose(norm, sum(squares) ** 0.5, rtol=1e-4)


def test_stacking_is_undone_and_changes_nothing(plan, batch, run):
    stacked = stack_layers(plan)
    assert same(unstack_layers(stacked).params, plan.params)
    assert flatten(unstack_layers(stacked).rates) == flatten(plan.rates)
    want = run(plan.params, batch["inputs"])
    got = run(stacked.params, batch["inputs"])
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_describe_counts(base):
    plan = METHODS["lora on a frozen base"](jax.random.key(2), base)
    text = describe(plan)
    # 3 blocks x (query, value) x rank 2 x (16 + 16), and a head of 16 x 3 + 3.
    assert f"trainable {3 * 2 * 2 * 32 + 51:,} of" in text
    line = next(row for row in text.splitlines() if "attention/query" in row)
    # Of one block: 16 x 16 + 16, a and b of rank 2, and their scale.
    wanted = ["blocks/0-2/attention/query", "bias[16]", "kernel[16,", "16]"]
    assert line.split() == [*wanted, "337", "0", "lora:LoRA@1"]
    mixed = freeze("blocks/1/attention/query/.*")(jax.random.key(0), base)
    assert "blocks/0,2/attention/query " in describe(mixed)
