"""Functions of one task, mapped over many."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.algorithms.many import chosen as by_device
from tl_jax.tree import one_of

Tasks = Literal["auto", "vmap", "map"]
"""How tasks are computed, with equal results:

"vmap": all at once, right on accelerators and for small dense networks.
"map": one after another, right on CPUs for convolutions, whose kernels differ by task.
"auto": "map" on CPUs, else "vmap". On an H100 sixteen tasks of a Conv4 take 22 ms a
meta-step at once and 133 in turn (2026-11-26).
"""


def chosen(tasks: Tasks) -> Tasks:
    """What "auto" is on the devices at hand; raises `NoMatch` for another way."""
    one_of("tasks", tasks, get_args(Tasks))
    return by_device(tasks)


def over_tasks(f: Callable, args: Any, tasks: Tasks = "vmap", parts: int = 1) -> Any:
    """f over the first axis [K ...] of all leaves of `args`, a tuple.

    `parts` is the number of devices that share the axis: with "map" each goes through
    its own K / parts tasks, all devices at the same time. Raises `NoMatch` for another
    way, ValueError if the parts don't divide K.
    """
    tasks = chosen(tasks)
    count = len(jax.tree.leaves(args)[0])
    if count == 1:  # XLA would keep the axis in every product
        own = f(*jax.tree.map(lambda x: x[0], args))
        return jax.tree.map(lambda x: jnp.asarray(x)[None], own)
    if tasks == "vmap":
        return jax.vmap(f)(*args)

    def in_turn(own: Any) -> Any:
        return lax.map(lambda one: f(*one), own)

    if parts == 1:
        return in_turn(args)
    if count % parts:
        raise ValueError(f"{count} tasks do not divide into {parts} parts")

    def cut(x: Any) -> Any:
        return x.reshape(parts, count // parts, *x.shape[1:])

    found = jax.vmap(in_turn)(jax.tree.map(cut, args))
    return jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), found)
