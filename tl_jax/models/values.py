"""Numbers and arrays that are learned, or kept, beside a network."""

import jax.numpy as jnp

from tl_jax.types import Array, Model, Outputs


def values(**start: Array | float) -> Model:
    """A player's leaves by name, each with its initial value.

    For what belongs to a method and to no layer: a temperature, a strength, the mean
    of a base set. `apply` returns them as one row of features, [1 N].
    """
    if not start:
        raise ValueError("values: no value is named; expected such as scale=0.0")

    def init(key):
        return {name: jnp.asarray(value, float) for name, value in start.items()}, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        row = [jnp.ravel(params[name]) for name in sorted(params)]
        return Outputs(jnp.concatenate(row)[None]), stats

    return Model(init, apply, sum(jnp.size(value) for value in start.values()))
