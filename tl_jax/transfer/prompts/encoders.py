"""What nodes at the root share that make prompts and prefixes, and how they go."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from tl_jax.transfer.graft import initial_rates
from tl_jax.tree import drop, get, put
from tl_jax.types import Array, Key, Params, Plan


def plain(plan: Plan) -> Plan:
    """The same function with what encoders make in place of the encoders.

    A node at the root that has `made(params) -> {path: patch}`, as the networks of
    prefixes and P-tuning have, goes; its patches stay, at the fastest rate of its
    leaves. A run saves its model so. Without any, the plan itself.
    """
    params, rates = plan.params, plan.rates
    for name, encoder in sorted(params.get("patch", {}).items()):
        if not hasattr(encoder, "made"):
            continue
        at = f"patch/{name}"
        fastest = max(jax.tree.leaves(get(rates, at)), default=0.0)
        made = encoder.made(params)
        params, rates = drop(params, at), drop(rates, at)
        for path, patch in made.items():
            own = jax.tree.map(lambda rate, f=fastest: rate * f, initial_rates(patch))
            params, rates = put(params, path, patch), put(rates, path, own)
    return plan._replace(params=params, rates=rates)


def check_part(method: str, path: str, site: Params, part: str, what: str) -> None:
    """Raise ValueError unless the site, an embedding, has what the method reads."""
    if part not in site:
        own = ", ".join(sorted(n for n in site if n != "patch"))
        raise ValueError(
            f"{method}: {path!r} has {own or 'nothing'}, expected {part}: the model "
            f"reads no {what}"
        )


def check_free(params: Params, paths: Sequence[str], name: str) -> None:
    """Raise ValueError if one of the sites has a patch of that name already."""
    for path in paths:
        if name in get(params, path).get("patch", {}):
            raise ValueError(
                f"patch '{path}/patch/{name}' is taken: give the second another name"
            )


def uniform(key: Key, shape: tuple[int, ...], fan_in: int) -> Array:
    """Values between -1/sqrt(fan in) and 1/sqrt(fan in), as torch starts layers."""
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def uniform_dense(key: Key, d_in: int, d_out: int, fan_in: int | None = None) -> Params:
    """kernel [I O] and bias [O], both `uniform`; `fan_in` is I where it is None."""
    k_kernel, k_bias = jax.random.split(key)
    fan_in = d_in if fan_in is None else fan_in
    return {
        "kernel": uniform(k_kernel, (d_in, d_out), fan_in),
        "bias": uniform(k_bias, (d_out,), fan_in),
    }
