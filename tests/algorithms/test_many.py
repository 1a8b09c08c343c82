"""Many runs in one step are the runs one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tl_jax.algorithms import Each, many, one_of_many, supervised
from tl_jax.losses import cross_entropy
from tl_jax.models import bert
from tl_jax.optim import adamw, by_factor, sgd
from tl_jax.transfer import (
    chain,
    cut_ranks,
    freeze,
    full,
    lora,
    new_head,
    pad_ranks,
    prefix,
    rate,
)
from tl_jax.tree import NoMatch, flatten
from tl_jax.types import Player

RANKS, ALPHAS, FACTORS = (1, 3, 2), (4.0, 8.0, 1.0), (1.0, 0.3, 2.0)


@pytest.fixture(scope="module")
def model():
    size = {"vocabulary": 20, "width": 8, "depth": 1, "heads": 2, "hidden": 16}
    return bert(positions=8, rate=0.1, **size)


@pytest.fixture(scope="module")
def base(model):
    params, stats = model.init(jax.random.key(0))
    return new_head(3, model.width)(jax.random.key(1), full(params, stats))


def plans(base):
    """LoRAs that differ in rank, scale and seed."""
    own = [
        chain(freeze(".*"), lora(r, ".*/(query|value)", a), rate("head/.*", 1.0))
        for r, a in zip(RANKS, ALPHAS, strict=True)
    ]
    return [make(jax.random.key(i), base) for i, make in enumerate(own)]


def runs_of(model, base, tx):
    """(players of each run, with a rate of its own; their algorithm)."""
    runs = [
        {"model": Player(model, plan, optax.chain(tx(), by_factor(factor)))}
        for plan, factor in zip(plans(base), FACTORS, strict=True)
    ]
    return runs, supervised(runs[0], lambda o, s: cross_entropy(o.logits, s["labels"]))


def batch(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    tokens = jnp.asarray(rng.integers(0, 20, (6, 5)))
    labels = jnp.asarray(rng.integers(0, 3, 6))
    return {"inputs": {"tokens": tokens}, "labels": labels, "weight": jnp.ones(6)}


KEYS = 3, 5, 9
STEPS = 3


def wide_adamw():
    return adamw(0.03, weight_decay=0.1)


@pytest.fixture(scope="module")
def alone(model, base):
    """Each run's (state, frozen, losses) by itself, at its own rank."""
    runs, _ = runs_of(model, base, wide_adamw)
    batches = [{"train": batch(i)} for i in range(3)]
    keys, found = [jax.random.key(k) for k in KEYS], []
    for run, own, key in zip(runs, batches, keys, strict=True):
        # Its optimiser, with its factor, is its own; rates and loss are all the same.
        made = supervised(run, lambda o, s: cross_entropy(o.logits, s["labels"]))
        state, frozen = made.init(key, run)
        step, losses = jax.jit(made.step), []
        for i in range(STEPS):
            state, metrics = step(state, frozen, own, jax.random.fold_in(key, i))
            losses.append(metrics["loss"])
        found.append((state, frozen, losses))
    return found


@pytest.mark.parametrize("batching", ["map", "vmap"])
def test_ranks_scales_rates_and_seeds_at_once(batching, model, base, alone):
    runs, algorithm = runs_of(model, base, wide_adamw)
    keys = jnp.stack([jax.random.key(k) for k in KEYS])
    batches = [{"train": batch(i)} for i in range(3)]
    together = many(algorithm, batching=batching, own_batches=True)
    state, frozen = together.init(keys, runs)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    step, losses = jax.jit(together.step), []
    fold = jax.vmap(jax.random.fold_in, (0, None))
    for i in range(STEPS):
        state, metrics = step(state, frozen, stacked, fold(keys, i))
        losses.append(metrics["loss"])
    assert int(state.step) == STEPS
    for n, (own, _, own_losses) in enumerate(alone):
        np.testing.assert_allclose([x[n] for x in losses], own_losses, rtol=1e-5)
        mine, _ = one_of_many(state, frozen, n)
        cut = flatten(cut_ranks(mine.train["model"], own.train["model"]))
        for path, leaf in flatten(own.train["model"]).items():
            np.testing.assert_allclose(cut[path], leaf, atol=2e-5)
    query = {"query": stacked["train"]}
    logits = jax.jit(together.predict)(state, frozen, query).logits
    for n, (own, own_frozen, _) in enumerate(alone):
        one = jax.jit(algorithm.predict)(
            own, own_frozen, {"query": batches[n]["train"]}
        )
        np.testing.assert_allclose(logits[n], one.logits, atol=2e-5)


def test_padding_stays_zero_and_gets_no_gradient(model, base):
    runs, algorithm = runs_of(model, base, wide_adamw)
    together = many(algorithm)
    state, frozen = together.init(jax.random.key(0), runs)
    step = jax.jit(together.step)
    for i in range(3):
        state, _ = step(state, frozen, {"train": batch()}, jax.random.key(i))
    site = state.train["model"]["blocks"]["0"]["attention"]["query"]["patch"]["lora"]
    moments = [
        x for p, x in flatten(state.opt).items() if p.endswith("query/patch/lora/a")
    ]
    assert len(moments) == 2
    for n, rank in enumerate(RANKS):
        assert (site.b[n, :rank] != 0).all()
        assert (site.a[n, :, rank:] == 0).all()
        assert (site.b[n, rank:] == 0).all()
        assert all((x[n, :, rank:] == 0).all() for x in moments)


def test_the_base_is_held_once(model, base):
    runs, algorithm = runs_of(model, base, lambda: sgd(0.1))
    _, frozen = many(algorithm).init(jax.random.key(0), runs)
    known, held = flatten(base.params), flatten(frozen["model"])
    assert all(held[p] is known[p] for p in held if p in known)
    own = [x for x in jax.tree.leaves(frozen, is_leaf=_each) if isinstance(x, Each)]
    assert len(own) == 2  # the scales
    np.testing.assert_allclose(own[0].value, np.divide(ALPHAS, RANKS), rtol=1e-6)


def _each(leaf) -> bool:
    return isinstance(leaf, Each)


def test_one_key_and_one_batch_are_those_of_a_run_alone(model, base):
    plan = plans(base)[0]
    runs = [{"model": Player(model, plan, sgd(0.1))} for _ in range(2)]
    algorithm = supervised(runs[0], lambda o, s: cross_entropy(o.logits, s["labels"]))
    together, key = many(algorithm, batching="vmap"), jax.random.key(3)
    made = together.init(key, runs)
    _, metrics = jax.jit(together.step)(*made, {"train": batch()}, key)
    one = algorithm.init(key, runs[0])
    _, want = jax.jit(algorithm.step)(*one, {"train": batch()}, key)
    np.testing.assert_allclose(metrics["loss"], [want["loss"]] * 2, rtol=1e-6)


def test_what_can_not_differ_raises_with_its_path(model, base):
    runs, algorithm = runs_of(model, base, lambda: sgd(0.1))
    key, made = jax.random.key(0), many(algorithm)

    def second(*more):
        plan = chain(*more)(key, runs[1]["model"].plan)
        return [runs[0], {"model": runs[1]["model"]._replace(plan=plan)}]

    with pytest.raises(ValueError, match=r"model/head/bias has rate 2.0 in run 1"):
        made.init(key, second(rate("head/bias", 2.0)))
    with pytest.raises(ValueError, match="3 keys for 2 runs"):
        made.init(jax.random.split(key, 3), runs[:2])
    with pytest.raises(NoMatch, match="batching 'vamp' matches nothing; nearest: vmap"):
        many(algorithm, batching="vamp")
    other = {"model": runs[1]["model"]._replace(tx=adamw(0.1))}
    with pytest.raises(ValueError, match="another structure in its opt"):
        made.init(key, [runs[0], other])
    with pytest.raises(ValueError, match=r"run 1 has players \['other'\]"):
        made.init(key, [runs[0], {"other": other["model"]}])


def test_only_declared_axes_are_padded(base):
    short, long = (prefix(n)(jax.random.key(0), base) for n in (1, 2))
    match = r"attention/patch/prefix/keys is \[1, 8\].*Prefix can be padded along no"
    with pytest.raises(ValueError, match=match):
        pad_ranks([short, long])
    with pytest.raises(NoMatch, match="patch 'prefix' matches nothing"):
        pad_ranks([short, base])
    low, high = (lora(r, ".*/query")(jax.random.key(0), base) for r in (1, 2))
    made, _ = pad_ranks([low, high])
    back = cut_ranks(made.params, low.params)
    want = flatten(low.params)
    assert all((leaf == want[p]).all() for p, leaf in flatten(back).items())
