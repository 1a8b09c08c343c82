"""Terms of features' norms and spectra: AFN and BSP."""

from collections.abc import Callable

from tl_jax.algorithms.adaptation.seen import Found, Seen, Side, Term
from tl_jax.algorithms.adaptation.views import positive
from tl_jax.losses.feature_norm import hard_norm, largest_singular, lengths, step_norm
from tl_jax.types import Array


def hafn(strength: float = 0.05, radius: float = 25.0) -> Term:
    """Draw both domains' mean feature norm to one radius (Xu et al., 2019).

    strength (hard_norm(source) + hard_norm(target)), of the model's features. Raises
    ValueError for a negative strength or a radius that is not positive.
    """
    positive("hafn", strength=strength)
    _above("hafn", radius=radius)
    return _of_both(strength, lambda f, w: hard_norm(f, w, radius), norms=True)


def safn(strength: float = 0.05, delta: float = 1.0) -> Term:
    """Let both domains' feature norms grow step by step (Xu et al., 2019).

    strength (step_norm(source) + step_norm(target)), of the model's features, as in
    TLlib's examples. The value stays 2 strength delta^2: the norms are the metric.
    Raises ValueError for a negative strength or a delta that is not positive.
    """
    positive("safn", strength=strength)
    _above("safn", delta=delta)
    return _of_both(strength, lambda f, w: step_norm(f, w, delta), norms=True)


def bsp(strength: float = 1e-4, k: int = 1) -> Term:
    """Shrink the strongest directions of each domain's features (Chen et al., 2019).

    strength sum_{i <= k} (s_i(source)^2 + s_i(target)^2), of the features that a critic
    reads: beside `dann` or `cdan` it keeps the directions that tell classes apart from
    drowning in those that move between domains. TLlib adds it at 2e-4, with k = 1.
    Raises ValueError for a negative strength or a k below 1.
    """
    positive("bsp", strength=strength)
    _above("bsp", k=k)
    return _of_both(strength, lambda f, w: largest_singular(f, w, k))


def _of_both(
    strength: float, measure: Callable[[Array, Array], Array], norms: bool = False
) -> Term:
    """strength times the sum of a measure of each domain that is there."""

    def value(seen: Seen) -> Found:
        sides = {"source": seen.source, "target": seen.target}
        sides = {name: side for name, side in sides.items() if side is not None}
        total = sum(measure(s.outputs.features, s.weight) for s in sides.values())
        shown = {f"{n}_norm": _norm(s) for n, s in sides.items()} if norms else {}
        return Found(strength * total, metrics=shown)

    return Term(value)


def _norm(side: Side) -> Array:
    """The mean norm of a domain's features, for the log."""
    return side.mean(lengths(side.outputs.features))


def _above(name: str, **values: float) -> None:
    for field, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name}: {field} is {value}, expected more than 0")
