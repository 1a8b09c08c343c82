"""Prompts, prefixes and P-tuning against PEFT: recorded, and live with `-m parity`."""

import jax
import numpy as np
import pytest
import record_peft_prompts as record
from peft_names import filled, ours

from tl_jax import pretrained
from tl_jax.transfer import (
    chain,
    freeze,
    full,
    merge,
    p_tuning,
    partition,
    plain,
    prefix,
    prompt,
    totals,
    trainable,
)
from tl_jax.tree import flatten

SIZES = dict(length=record.LENGTH)
METHODS = {
    "prompt": prompt(**SIZES),
    "prefix": prefix(**SIZES, shift=True),
    "projected": prefix(**SIZES, hidden=record.HIDDEN, shift=True),
    "mlp": p_tuning(**SIZES, hidden=record.HIDDEN),
    "lstm": p_tuning(**SIZES, hidden=record.HIDDEN, form="lstm"),
}
CASES = [f"{family}/{method}" for family, method in record.CASES]
OUT, STEP = 2e-5, 1e-5


def apart(found, expected) -> float:
    """max|difference| / max|expected|."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def agrees(case: str, found: dict[str, np.ndarray], golden) -> None:
    """Outputs, count and one step, and outputs without the encoder."""
    family, method = case.split("/")
    base = pretrained.load(golden / record.BASES[family])
    add = chain(freeze(".*"), METHODS[method])
    plan = add(jax.random.key(0), full(base.params, base.stats))
    assert totals(plan)[0] == found["count"]

    def weights(when):
        start = f"{when}/"
        return ours(
            method,
            {k[len(start) :]: v for k, v in found.items() if k.startswith(start)},
        )

    plan = plan._replace(params=filled(plan.params, weights("before")))
    inputs = {name: found[name] for name in ("tokens", "mask")}
    shown = found["mask"].astype(bool)

    def run(params):
        out = base.model.apply(params, {}, inputs)[0]
        return out.tokens if out.logits is None else out.logits

    train, frozen = partition(plan.params, trainable(plan.rates))

    def loss(train):
        out = run(merge(train, frozen))
        return (out * found["weights"]).sum(), out

    (_, out), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(train)
    assert apart(out[shown], found["out"][shown]) <= OUT
    encoded = jax.jit(run)(plain(plan).params)
    assert apart(encoded[shown], found["out"][shown]) <= OUT
    moved = jax.tree.map(lambda w, g: w - record.RATE * g, train, grads)
    after, stepped = weights("after"), flatten(moved)
    assert set(after) == set(stepped)
    before = weights("before")
    assert all(np.abs(after[p] - before[p]).max() > 1e-6 for p in after)
    worst = {p: np.abs(stepped[p] - after[p]).max() / 0.5 for p in after}
    assert max(worst.values()) <= STEP, worst


@pytest.fixture(scope="module")
def answers(golden):
    with np.load(golden / "peft_prompts.npz") as file:
        return dict(file)


@pytest.mark.parametrize("case", CASES)
def test_as_peft_computed(case, answers, golden):
    own = {k: v for k, v in answers.items() if k.startswith(f"{case}/")}
    agrees(case, {k[len(case) + 1 :]: v for k, v in own.items()}, golden)


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_as_peft_computes(case, golden):
    family, method = case.split("/")
    agrees(case, record.reference(family, method, seed=77), golden)
