"""AdaLoRA's budget: which singular values stay, by importance, as an optimiser."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tl_jax.transfer.low_rank.adalora import AdaLoRA
from tl_jax.tree import SEPARATOR, NoMatch, path_of
from tl_jax.types import Array

Scores = dict[str, dict[str, Array]]
FIELDS = ("p", "e", "q")


class BudgetState(NamedTuple):
    """The inner optimiser's state, steps done, smoothed sensitivity, which stay."""

    inner: Any
    count: Array
    sensitivity: Scores
    uncertainty: Scores
    kept: dict[str, Array]


def rank_budget(
    tx: optax.GradientTransformation,
    target: int,
    steps: int,
    *,
    start: int = 0,
    end: int = 0,
    every: int = 1,
    smooth: float = 0.85,
    doubt: float = 0.85,
) -> optax.GradientTransformationExtraArgs:
    """`tx`, and behind it AdaLoRA's pruning to an average rank (Zhang et al., 2023).

    The importance of a triplet i of (p, e, q) is s(e_i) + mean_j s(p_ji) +
    mean_j s(q_ij), where s = sensitivity * uncertainty, the smoothed |w g| and the
    smoothed difference of |w g| from it (factors `smooth` and `doubt`). Every `every`
    steps, after `start` of them, the least important e of all sites become exactly
    zero, so many that the budget is

        b(t) = target + (rank - target) (1 - (t - start) / (steps - end - start))^3

    on average; until the last `end` steps they may come back, from then on they stay.
    Weights in |w g| are those after the step and g is the gradient before it, as with
    PEFT's `update_and_allocate` between `step()` and `zero_grad()`, t from 0.

    The rate of e has to be 1, since the plan's rates scale the update that makes it
    zero. Raises ValueError for numbers that leave no time to prune and, at `init`,
    for a target above the rank; `NoMatch` there if no AdaLoRA moves.
    """
    if target < 1 or every < 1 or start < 0 or end < 0 or start >= steps - end:
        raise ValueError(
            f"rank_budget: target {target}, every {every}, steps {steps} less {end} at "
            f"the end and {start} at the start: expected target and every of 1 or "
            "more, and steps between the start and the end"
        )
    tx = optax.with_extra_args_support(tx)

    def init(params: Any) -> BudgetState:
        found = _moving(params)
        if not found:
            raise NoMatch("rank_budget: no AdaLoRA patch moves; graft adalora(...)")
        if min(own["e"].shape[-1] for own in found.values()) < target:
            raise ValueError(f"rank_budget: target {target} is above an initial rank")
        zeros = jax.tree.map(jnp.zeros_like, found)
        kept = {at: jnp.ones(own["e"].shape, bool) for at, own in found.items()}
        first = jnp.zeros((), jnp.int32)
        return BudgetState(tx.init(params), first, zeros, zeros, kept)

    def update(updates: Any, state: BudgetState, params: Any, **extra: Any):
        grads = _moving(updates)
        updates, inner = tx.update(updates, state.inner, params, **extra)
        before = _moving(params)
        moved = jax.tree.map(jnp.add, before, _moving(updates))
        sizes = {at: e.size for at, e in state.kept.items()}
        total = sum(sizes.values())
        ranks = sum(e.size // e.shape[-1] for e in state.kept.values())
        last = steps - end
        t = state.count
        smoothed = _smoothed(state, moved, grads, t < last, smooth, doubt)
        cuts, prunes = _schedule(total, target * ranks, steps, start, end, every)
        at_once = jnp.minimum(t, len(cuts) - 1)
        fresh = _best(*smoothed, jnp.asarray(cuts)[at_once])
        prune = jnp.asarray(prunes)[at_once] & (t <= last)
        kept = jax.tree.map(
            lambda new, old: jnp.where(prune, new, old), fresh, state.kept
        )
        acts = prune | (t > last)
        stay = {at: keep | ~acts for at, keep in kept.items()}
        updates = _zeroed(updates, params, stay)
        return updates, BudgetState(inner, t + 1, *smoothed, kept)

    return optax.GradientTransformationExtraArgs(init, update)


def _is_node(x: Any) -> bool:
    return isinstance(x, AdaLoRA)


def _named(tree: Any) -> list[tuple[str, Any]]:
    """(path, node) of everything, AdaLoRA patches whole."""
    found = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_node)
    return [(_at(path), leaf) for path, leaf in found]


def _at(path: tuple) -> str:
    """A path as one name in a state's dict: no separator of ours."""
    return path_of(path).replace(SEPARATOR, ".")


def _moving(tree: Any) -> Scores:
    """Path -> {p, e, q} of the AdaLoRA patches of which all three move."""
    return {
        path: {name: getattr(own, name) for name in FIELDS}
        for path, own in _named(tree)
        if _is_node(own) and all(getattr(own, name) is not None for name in FIELDS)
    }


def _smoothed(state, moved, grads, learns, smooth, doubt) -> tuple[Scores, Scores]:
    """Sensitivity and uncertainty after this step."""
    now = jax.tree.map(lambda w, g: jnp.abs(w * g), moved, grads)

    def mixed(factor: float, old: Array, new: Array) -> Array:
        return jnp.where(learns, factor * old + (1 - factor) * new, old)

    sensitivity = jax.tree.map(
        lambda old, new: mixed(smooth, old, new), state.sensitivity, now
    )
    uncertainty = jax.tree.map(
        lambda old, new, mean: mixed(doubt, old, jnp.abs(new - mean)),
        state.uncertainty,
        now,
        sensitivity,
    )
    return sensitivity, uncertainty


def _best(sensitivity: Scores, uncertainty: Scores, cut: Array) -> dict[str, Array]:
    """True for the triplets above the `cut` least important ones."""
    scores = {}
    for path, own in sensitivity.items():
        s = {name: own[name] * uncertainty[path][name] for name in FIELDS}
        scores[path] = s["e"] + (s["p"].mean(-2) + s["q"].mean(-1))
    every = jnp.sort(jnp.concatenate([jnp.ravel(s) for s in scores.values()]))
    threshold = jnp.where(cut > 0, every[jnp.maximum(cut - 1, 0)], -jnp.inf)
    return {path: s > threshold for path, s in scores.items()}


def _schedule(total, least, steps, start, end, every) -> tuple[np.ndarray, np.ndarray]:
    """How many triplets to cut at each step, and whether to; a step beyond the end."""
    t = np.arange(steps - end + 1)
    left = 1 - (t - start) / (steps - end - start)
    budget = np.trunc((total - least) * left**3 + least).astype(int)
    budget = np.where(t <= start, total, budget)
    prunes = ((t > start) & (t % every == 0)) | (t == steps - end)
    return total - budget, prunes


def _zeroed(updates: Any, params: Any, stay: dict[str, Array]) -> Any:
    """Updates after which the e that don't stay are exactly zero."""
    values = dict(_named(params))

    def change(path: tuple, own: Any) -> Any:
        at = _at(path)
        if at not in stay:
            return own
        fields = {name: getattr(own, name) for name in (*FIELDS, "scale")}
        fields["e"] = jnp.where(stay[at], own.e, -values[at].e)
        return AdaLoRA(**fields, rate=own.rate)

    return jax.tree_util.tree_map_with_path(change, updates, is_leaf=_is_node)
