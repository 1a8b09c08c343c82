"""Rates, schedules and optimisers over trees with holes, on optax.

A player may hold several optax states, one for each group of leaves that began to
move together. They share one schedule, so it reads the global step, which comes in
as an extra argument: `update(updates, state, params, step=step)`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tl_jax import tree
from tl_jax.types import Array, Rates

Schedule = Callable[[Array], Array]
SCHEDULES = ("constant", "linear", "cosine")
DECAYED = r"(?!.*(bias|scale)$).*"
"""Everything but leaves whose names end in `bias` or `scale`."""


def by_rate(rates: Rates) -> optax.GradientTransformation:
    """Scale each update by its leaf's rate, a Python float; 1.0 multiplies nothing.

    rates: the structure of the parameters; either side may have holes, but each
    parameter that is there needs a rate. A line search before it (L-BFGS) does not
    see the rates.

    Raises TypeError for a rate that is no number, and ValueError at `init`, with the
    paths, for parameters of another structure.
    """
    known = tree.flatten(rates)
    for path, rate in known.items():
        if isinstance(rate, bool) or not isinstance(rate, int | float):
            raise TypeError(
                f"rate of {path!r} is a {type(rate).__name__}, expected a Python float"
            )

    def init(params: Any) -> optax.EmptyState:
        here = tree.flatten(params)
        places = _places(params)
        missing = [path for path in here if path not in known]
        extra = [path for path in known if path not in places]
        if missing or extra:
            raise ValueError(
                "rates and parameters differ in structure: "
                f"without a rate: {_some(missing)}; rates of nothing: {_some(extra)}"
            )
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params

        def scale(path: str, leaf: Array) -> Array:
            return leaf if known[path] == 1.0 else leaf * known[path]

        return tree.map_with_path(scale, updates), state

    return optax.GradientTransformation(init, update)


def _places(params: Any) -> set[str]:
    """Paths of all leaves and holes."""
    flat = jax.tree_util.tree_leaves_with_path(params, is_leaf=tree.is_none)
    return {tree.path_of(keys) for keys, _ in flat}


def _some(names: list[str], count: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return (", ".join(names[:count]) or "none") + more


def by_schedule(rate: float | Schedule) -> optax.GradientTransformationExtraArgs:
    """Scale updates by -rate(step), with the global `step` as an extra argument.

    Stateless, so optax states that began at different times share one schedule.
    Raises TypeError if `update` gets no `step` and the rate is a schedule.
    """

    def update(
        updates: Any, state: Any, params: Any = None, *, step: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        del params, extra
        if callable(rate) and step is None:
            raise TypeError(
                "by_schedule needs the global step: "
                "update(updates, state, params, step=step)"
            )
        scale = -rate(step) if callable(rate) else -rate
        return jax.tree.map(lambda u: jnp.asarray(scale, u.dtype) * u, updates), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update
    )


def by_factor(factor: float | Array) -> optax.GradientTransformation:
    """Scale updates by a number that stands in the state, and so may be traced.

    `optax.chain(adamw(curve), by_factor(2.0))` is adamw at twice the curve. Runs that
    differ in their rates alone share one program: a state has each run's own number.
    """

    def update(updates: Any, state: Array, params: Any = None) -> tuple[Any, Array]:
        del params
        return jax.tree.map(lambda u: state.astype(u.dtype) * u, updates), state

    return optax.GradientTransformation(
        lambda params: jnp.asarray(factor, jnp.float32), update
    )


def schedule(
    name: str, peak: float, steps: int, warmup: float = 0, end: float = 0.0
) -> Schedule:
    """Linear warm-up from 0 to `peak`, then constant, linear or cosine to `end`.

    At step t of a warm-up of w steps the rate is peak t / w; the decay reaches `end`
    at `steps` and stays there (Loshchilov and Hutter, 2017, for the cosine).

    warmup: a number of steps, or a fraction of `steps` below 1. "constant" ignores
    `end`. Raises ValueError for an unknown name, or a warm-up beyond `steps`.
    """
    if name not in SCHEDULES:
        raise tree.no_match("schedule", name, SCHEDULES)
    if steps < 1:
        raise ValueError(f"steps is {steps}, expected at least 1")
    first = round(warmup * steps) if warmup < 1 else int(warmup)
    if warmup < 0 or first > steps or (warmup >= 1 and first != warmup):
        raise ValueError(
            f"warmup is {warmup}, expected a fraction below 1 "
            f"or a whole number of steps up to {steps}"
        )
    rest = max(steps - first, 1)
    if name == "constant":
        after = optax.constant_schedule(peak)
    elif name == "linear":
        after = optax.linear_schedule(peak, end, rest)
    else:
        after = _cosine(peak, end, rest)
    if not first:
        return after
    ramp = optax.linear_schedule(0.0, peak, first)
    return optax.join_schedules([ramp, after], [first])


def _cosine(peak: float, end: float, steps: int) -> Schedule:
    """Half a cosine from `peak` to `end`."""
    wave = optax.cosine_decay_schedule(1.0, steps)
    return lambda step: end + (peak - end) * wave(step)


def adamw(
    rate: float | Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    decay: str = DECAYED,
) -> optax.GradientTransformationExtraArgs:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    theta <- theta - rate(step) (m / (sqrt(v) + eps) + weight_decay theta)

    decay: rule for the paths that decay. Raises `NoMatch` at `init` if a rule of the
    caller's own fits neither a leaf nor a hole.
    """
    tree.compile_rule(decay)
    chosen = optax.add_decayed_weights(weight_decay, mask=_decayed(decay))
    return optax.chain(
        optax.scale_by_adam(b1, b2, eps),
        chosen if weight_decay else optax.identity(),
        by_schedule(rate),
    )


def _decayed(rule: str) -> Callable[[Any], Any]:
    """Mask of the leaves that decay."""

    def mask(params: Any) -> Any:
        places = sorted(_places(params))
        pattern = tree.compile_rule(rule)
        found = {path for path in places if pattern.fullmatch(path)}
        if not found and rule != DECAYED:
            raise tree.no_match("decay rule", rule, places)
        return tree.map_with_path(lambda path, _: path in found, params)

    return mask


def sgd(
    rate: float | Schedule, momentum: float | None = None, nesterov: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent, with heavy-ball or Nesterov momentum (Sutskever et al., 2013).

    v <- momentum v + g;  theta <- theta - rate(step) v
    """
    if nesterov and momentum is None:
        raise ValueError("nesterov needs a momentum")
    first = optax.identity() if momentum is None else optax.trace(momentum, nesterov)
    return optax.chain(first, by_schedule(rate))


def lbfgs(
    memory: int = 10, linesearch_steps: int = 20
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS with a zoom line search (Liu and Nocedal, 1989).

    Its `update` needs `value`, `grad` and `value_fn(params) -> value` as extra
    arguments and ignores all others. No rate: the line search finds it.
    """
    search = optax.scale_by_zoom_linesearch(
        max_linesearch_steps=linesearch_steps, initial_guess_strategy="one"
    )
    inner = optax.lbfgs(memory_size=memory, linesearch=search)

    def update(
        updates: Any,
        state: Any,
        params: Any,
        *,
        value: Array,
        grad: Any,
        value_fn: Callable[[Any], Array],
        **extra: Any,
    ) -> tuple[Any, Any]:
        del extra  # the line search refuses what value_fn does not read
        return inner.update(
            updates, state, params, value=value, grad=grad, value_fn=value_fn
        )

    return optax.GradientTransformationExtraArgs(inner.init, update)
