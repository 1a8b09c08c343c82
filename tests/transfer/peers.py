"""What comparisons with recorded peers share: weights, a step, distances."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.transfer import freeze, full, merge, partition, trainable
from tl_jax.tree import count, flatten, map_with_path
from tl_jax.types import Model, Plan, Pretrained, Transfer

KEY = jax.random.key(0)
RATE = 0.1
"""Of the one step of SGD that peers took."""


def recorded(file: str, case: str = "") -> dict[str, np.ndarray]:
    """What was recorded of a case, by the rest of its name."""
    with np.load(file) as arrays:
        return {k.removeprefix(case): arrays[k] for k in arrays if k.startswith(case)}


def inputs_of(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs among what was recorded."""
    known = ("tokens", "mask", "types", "image")
    return {name: values[name] for name in known if name in values}


def grafted(base: Pretrained, method: Transfer) -> Plan:
    """The method on a frozen pretrained model."""
    plan = freeze(".*")(KEY, full(base.params, base.stats))
    return method(KEY, plan)


def filled(plan: Plan, values: Mapping[str, np.ndarray]) -> Plan:
    """The plan with these leaves, each of which must be there in that shape."""
    known = flatten(plan.params)
    assert set(values) <= set(known), sorted(set(values) - set(known))

    def own(path: str, leaf: jax.Array) -> jax.Array:
        if path not in values:
            return leaf
        assert values[path].shape == leaf.shape, path
        return jnp.asarray(values[path])

    return plan._replace(params=map_with_path(own, plan.params))


def stepped(model: Model, plan: Plan, inputs: dict) -> tuple[jax.Array, dict, int]:
    """Logits, what moves after a step of SGD on their mean square, and its count.

    Logits of padding are zeros: peers differ there.
    """
    train, frozen = partition(plan.params, trainable(plan.rates))

    def loss(train):
        logits = model.apply(merge(train, frozen), plan.stats, inputs)[0].logits
        if logits.ndim == 3:
            logits = logits * inputs["mask"][..., None]
        return jnp.square(logits).mean(), logits

    grads, logits = jax.jit(jax.grad(loss, has_aux=True))(train)
    after = jax.tree.map(lambda w, g: w - RATE * g, train, grads)
    return logits, flatten(after), count(train)


def agrees(
    base: Pretrained,
    method: Transfer,
    values: Mapping[str, np.ndarray],
    ours: Callable[[str, np.ndarray], tuple[str, np.ndarray]],
) -> None:
    """Logits to 2e-5, each weight's step to 1e-5 and its direction, and their count.

    `ours(name, array)` gives a peer's weight its path and layout here.
    """

    def put(prefix: str) -> dict[str, np.ndarray]:
        own = {k.removeprefix(prefix): v for k, v in values.items()}
        return dict(ours(k, own[k]) for k in own if f"{prefix}{k}" in values)

    before, want = put("before/"), put("after/")
    plan = filled(grafted(base, method), before)
    logits, after, moving = stepped(base.model, plan, inputs_of(values))
    assert far(logits, values["logits"]) <= 2e-5
    assert set(after) == set(want)
    assert moving == sum(array.size for array in want.values())
    for path, array in want.items():
        assert far(after[path], array) <= 1e-5, path
        moved = np.abs(array - before[path]).max()
        # A gradient that is zero by symmetry is noise in both.
        assert np.abs(after[path] - array).max() <= 2e-3 * moved + 1e-6, path


def far(found, expected) -> float:
    """max|difference| / max|expected|."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
