"""Ways to weigh the source's rows that configs know, by name."""

from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from typing import Any, NamedTuple

import numpy as np

from experiments.shift import label_shift
from tl_jax.estimators import weighting


class Weighing(NamedTuple):
    """Weights of the source's rows, and what a result says of them."""

    values: np.ndarray
    """[N] of mean 1."""
    told: dict[str, Any]


def weigh(
    method: Callable[..., weighting.Weights],
    source: np.ndarray,
    target: np.ndarray,
    *,
    clip: float | None = None,
    **own: Any,
) -> Weighing:
    """Weights of mean 1 by a method of `tl_jax.estimators.weighting`.

    `clip`: at most so many times their mean, what was cut off is told.
    """
    found = method(source, target, **own)
    ready, told = weighting.prepared(found.values, clip), {}
    values, cut, report = ready
    if cut is not None:
        told = {"clipped_rows": cut.rows, "clipped_share": cut.lost}
    told |= {
        "effective_sample_size": report.effective,
        "rows": report.rows,
        "zeros": report.zeros,
        "heaviest_hundredth": report.heaviest,
        "quantiles": list(report.quantiles),
        "histogram": {"counts": list(report.counts), "edges": list(report.edges)},
        "found": _plain(found.found),
    }
    return Weighing(values, told)


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a method found in single numbers and words."""
    kinds = bool, int, float, str, np.generic
    single = {name: own for name, own in found.items() if isinstance(own, kinds)}
    return {n: o.item() if isinstance(o, np.generic) else o for n, o in single.items()}


def _entry(method: Callable[..., weighting.Weights]) -> Callable[..., Weighing]:
    """The method's own arguments, and `clip`."""
    import inspect

    made = update_wrapper(partial(weigh, method), method)
    own = inspect.signature(method).parameters.values()
    limit = inspect.Parameter("clip", inspect.Parameter.KEYWORD_ONLY, default=None)
    made.__signature__ = inspect.Signature([*own, limit])
    return made


WEIGHTINGS: Mapping[str, Callable[..., Weighing]] = {
    "bbse": _entry(label_shift.bbse),
    "em": _entry(label_shift.em),
    **{name: _entry(method) for name, method in weighting.METHODS.items()},
}
"""Name -> `(source [N D], target [M D], **arguments) -> Weighing`; those that go by
classes take the source's `labels` [N], too."""
