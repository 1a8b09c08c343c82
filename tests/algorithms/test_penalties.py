"""Penalties against arithmetic; what they move, and bad arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from penalised import HEAD, KEY, make, numbers, run

from tl_jax.algorithms import (
    START,
    Penalty,
    bss,
    co_tuning,
    delta,
    l2_sp,
    near_identity,
    sparse_diffs,
)
from tl_jax.optim import adamw
from tl_jax.transfer import (
    adapter,
    adapter_fusion,
    chain,
    diff_pruning,
    expected_l0,
    freeze,
    keep_head,
    lora,
    new_head,
    top,
)
from tl_jax.tree import NoMatch, flatten, merge


def test_l2_sp_draws_the_body_to_its_start_and_the_head_to_zero(model, base, batch):
    plan = chain(freeze("embed/.*"), top(1))(KEY, base)
    made, _, state, frozen = make(model, plan, {"sp": l2_sp(0.3, 0.7)})
    state, _ = run(made, state, frozen, batch, 2)
    _, metrics = jax.jit(made.step)(state, frozen, batch, KEY)
    now, start = numbers(state.train["model"]), numbers(plan.params)
    want = 0.0
    for path, leaf in now.items():
        if path.startswith("head/"):
            want += 0.7 / 2 * (leaf**2).sum()
        else:
            want += 0.3 / 2 * ((leaf - start[path]) ** 2).sum()
    np.testing.assert_allclose(metrics["penalty/sp"], want, rtol=1e-5)
    both = metrics["supervised"] + metrics["penalty/sp"]
    np.testing.assert_allclose(metrics["loss"], both, rtol=1e-6)


def test_a_step_of_l2_sp_is_one_of_the_loss_and_one_towards_the_start(
    model, base, batch
):
    """theta - rate (g + a (w - w0)) of the body, theta - rate (g + b v) of the head."""
    penalties = {"sp": l2_sp(0.3, 0.7)}
    made, _, state, frozen = make(model, base, penalties)
    state, _ = run(made, state, frozen, batch, 1)
    bare, _, _, _ = make(model, base, {})
    kept = {name: m for name, m in state.memory.items() if name != START}
    plain, _ = run(bare, state._replace(memory=kept), frozen, batch, 1)
    after, _ = run(made, state, frozen, batch, 1)
    start, before = numbers(base.params), numbers(state.train["model"])
    without, found = numbers(plain.train["model"]), numbers(after.train["model"])
    for path, value in found.items():
        pull = 0.7 * before[path]
        if not path.startswith("head/"):
            pull = 0.3 * (before[path] - start[path])
        want = without[path] - 0.5 * pull
        np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-6)


def hidden_of(model, params, batch):
    return [
        np.asarray(state, np.float64)
        for state in model.apply(params, {}, batch["train"]["inputs"])[0].hidden
    ]


@pytest.mark.parametrize("layers", [(), (1, -1)])
def test_delta_is_a_loop_over_states(model, base, batch, layers):
    penalties = {"delta": delta(0.2, 0.4, layers=layers)}
    plan = chain(freeze("embed/.*"), lora(2, ".*/up"))(KEY, base)
    made, _, state, frozen = make(model, plan, penalties)
    state, _ = run(made, state, frozen, batch, 2)
    _, metrics = jax.jit(made.step)(state, frozen, batch, KEY)
    new = hidden_of(model, merge(state.train["model"], frozen["model"]), batch)
    old = hidden_of(model, plan.params, batch)
    stream = batch["train"]
    total = 0.0
    for i, weight in enumerate(np.asarray(stream["weight"])):
        shown = stream["inputs"]["mask"][i]
        for layer in layers or range(3):
            square = ((new[layer][i] - old[layer][i]) ** 2).sum(-1)
            total += weight * 0.5 * square[shown].mean()
    head = numbers(state.train["model"]["head"])
    want = 0.2 * total / stream["weight"].sum()
    want += 0.4 / 2 * sum((leaf**2).sum() for leaf in head.values())
    np.testing.assert_allclose(metrics["penalty/delta"], want, rtol=1e-4)
    assert total > 0


def test_bss_is_of_the_features_of_real_rows(model, base, batch):
    made, _, state, frozen = make(model, base, {"bss": bss(0.5, k=2)})
    _, metrics = jax.jit(made.step)(state, frozen, batch, KEY)
    out = model.apply(base.params, {}, batch["train"]["inputs"])[0]
    values = np.linalg.svd(np.asarray(out.features, np.float64)[:5], compute_uv=False)
    want = 0.5 * (values[-2:] ** 2).sum()
    np.testing.assert_allclose(metrics["penalty/bss"], want, rtol=1e-3)


def test_co_tuning_is_a_loop_over_classes(model, base, batch):
    old = new_head(4, 8, std=1.0)(jax.random.key(5), base)
    plan = chain(keep_head(3), new_head(3, 8))(KEY, old)
    relation = np.random.default_rng(3).dirichlet(np.ones(4), 3).astype(np.float32)
    plan.params["source"]["relation"] = jnp.asarray(relation)
    made, _, state, frozen = make(model, plan, {"co": co_tuning(1.5)})
    _, metrics = jax.jit(made.step)(state, frozen, batch, KEY)
    out = model.apply(plan.params, {}, batch["train"]["inputs"])[0]
    head = numbers(plan.params["source"])
    logits = np.asarray(out.features, np.float64) @ head["kernel"] + head["bias"]
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total, stream = 0.0, batch["train"]
    for i, weight in enumerate(np.asarray(stream["weight"])):
        row = relation[int(stream["labels"][i])]
        total += weight * sum(-row[s] * logp[i, s] for s in range(4))
    want = 1.5 * total / stream["weight"].sum()
    np.testing.assert_allclose(metrics["penalty/co"], want, rtol=1e-5)
    # The old head moves with the body; the relation does not.
    assert set(flatten(state.train["model"]["source"])) == {"kernel", "bias"}
    mixed = jax.nn.one_hot(batch["train"]["labels"], 3)
    shares = {"train": batch["train"] | {"labels": mixed}}
    _, again = jax.jit(made.step)(state, frozen, shares, KEY)
    np.testing.assert_allclose(again["penalty/co"], metrics["penalty/co"], rtol=1e-6)


def size_of_features(seen):
    return seen.mean(jnp.square(seen.outputs.features).sum(-1))


ALL = {"sp": l2_sp(), "delta": delta(), "bss": bss(), "own": Penalty(size_of_features)}


@pytest.mark.parametrize("method", [HEAD, chain(HEAD, lora(2, ".*/query")), top(1)])
def test_a_penalty_moves_no_frozen_leaf(model, base, batch, method):
    plan = method(KEY, base)
    made, _, state, frozen = make(model, plan, ALL, adamw(1e-2), clip=1.0)
    new, metrics = run(made, state, frozen, batch, 2)
    moving = {path for path, rate in flatten(plan.rates).items() if rate}
    assert set(flatten(new.train["model"])) == moving
    names = {name for name in metrics if name.startswith("penalty/")}
    assert names == {f"penalty/{name}" for name in ALL}


def test_microbatches_do_not_count_a_penalty_of_weights_twice(model, base, batch):
    one = jax.tree.map(jnp.asarray, batch)
    penalties = {"sp": l2_sp(0.3, 0.7), "delta": delta()}
    found = []
    for parts in (1, 3):
        made, _, state, frozen = make(model, base, penalties, accumulate=parts)
        state, metrics = run(made, state, frozen, one, 3)
        found.append((state.train, metrics))
    for a, b in zip(jax.tree.leaves(found[0]), jax.tree.leaves(found[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)


def test_eager_compiled_and_vmapped_steps_agree(model, base, batch):
    made, _, state, frozen = make(model, base, ALL)
    eager, _ = made.step(state, frozen, batch, KEY)
    fast, _ = jax.jit(made.step)(state, frozen, batch, KEY)
    many = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    both, _ = jax.vmap(made.step, (0, None, None, None))(many, frozen, batch, KEY)
    for path, leaf in flatten(eager.train).items():
        np.testing.assert_allclose(leaf, flatten(fast.train)[path], atol=1e-5)
        np.testing.assert_allclose(leaf, flatten(both.train)[path][1], atol=1e-5)


@pytest.mark.parametrize(
    "make_one, message",
    [
        (lambda: l2_sp(-1.0), "l2_sp: strength is -1.0"),
        (lambda: l2_sp(1.0, float("nan")), "l2_sp: head_strength is nan"),
        (lambda: delta(float("inf")), "delta: strength is inf"),
        (lambda: bss(1.0, 0), "bss: k is 0"),
        (lambda: co_tuning(-2.0), "co_tuning: strength is -2.0"),
        (lambda: l2_sp(head="("), "is no regular expression"),
    ],
)
def test_bad_arguments(make_one, message):
    with pytest.raises(ValueError, match=message):
        make_one()


def test_a_plan_that_does_not_fit_is_told_before_a_step(model, base):
    with pytest.raises(NoMatch, match="penalty: head 'haed/.*' .* nearest: head"):
        make(model, base, {"sp": l2_sp(head="haed/.*")})
    with pytest.raises(NoMatch, match="co_tuning: site 'source'"):
        make(model, base, {"co": co_tuning()})
    made, _, state, frozen = make(model, base, {"delta": delta(layers=(3,))})
    stream = {"inputs": {"tokens": jnp.zeros((2, 3), int)}, "labels": jnp.zeros(2, int)}
    with pytest.raises(ValueError, match="no layer 3; the model has 3, 0 to 2"):
        made.step(state, frozen, {"train": stream | {"weight": jnp.ones(2)}}, KEY)


def test_open_gates_have_a_price(model, base, batch):
    plan = chain(freeze(".*"), diff_pruning("blocks/1/mlp/up"))(KEY, base)
    made, _, state, frozen = make(model, plan, {"gates": sparse_diffs(1e-3)})
    new, metrics = run(made, state, frozen, batch, 3)
    before = float(expected_l0(merge(state.train["model"], frozen["model"])))
    after = float(expected_l0(merge(new.train["model"], frozen["model"])))
    assert after < before
    assert 1e-3 * after < metrics["penalty/gates"] <= 1e-3 * before


def test_values_of_a_fusion_stay_near_the_identity(model, base, batch):
    names = ("first", "second")
    two = [adapter(width=2, name=name) for name in names]
    plan = chain(freeze(".*"), *two, adapter_fusion(names))(KEY, base)
    rng = np.random.default_rng(3)
    moved = jax.tree.map(lambda x: x + rng.normal(0, 0.1, x.shape), plan.params)
    plan = plan._replace(params=moved)
    made, _, state, frozen = make(model, plan, {"values": near_identity(0.5)})
    want = 0.0
    for path, leaf in numbers(plan.params).items():
        if path.endswith("value/kernel") and "/patch/fusion" in path:
            want += 0.5 * ((leaf - np.eye(len(leaf))) ** 2).sum()
    _, metrics = jax.jit(made.step)(state, frozen, batch, KEY)
    np.testing.assert_allclose(metrics["penalty/values"], want, rtol=1e-5)
    assert want > 0.1
