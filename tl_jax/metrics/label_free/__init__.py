"""Scores of models that see no label of the target's: name -> how to choose."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import NamedTuple

from tl_jax.metrics.label_free.circular import back, circular
from tl_jax.metrics.label_free.entropy import entropy, information
from tl_jax.metrics.label_free.evidence import Evidence, check
from tl_jax.metrics.label_free.neighbourhood import neighbourhood
from tl_jax.metrics.label_free.nuclear import nuclear
from tl_jax.metrics.label_free.ratio import density_ratio
from tl_jax.metrics.label_free.source_risk import dev, iwcv, source_risk, weights_of


class Selector(NamedTuple):
    """A score of one model, and which way it points."""

    score: Callable[[Evidence], float]
    higher_is_better: bool


SELECTORS: Mapping[str, Selector] = MappingProxyType(
    {
        "source_risk": Selector(source_risk, False),
        "iwcv": Selector(iwcv, False),
        "dev": Selector(dev, False),
        "circular": Selector(back, True),
        "entropy": Selector(entropy, False),
        "information": Selector(information, True),
        "bnm": Selector(nuclear, True),
        "snd": Selector(neighbourhood, True),
    }
)
"""All that `scores` computes; `source_risk` is what ignores the shift."""
WEIGHTED = ("iwcv", "dev")
"""Those that need the ratio of densities."""


def scores(
    evidence: Evidence, names: Iterable[str] = tuple(SELECTORS)
) -> dict[str, float]:
    """Each selector's score of one model; the ratio of densities is found once.

    Raises ValueError for a name that is unknown, with the nearest one.
    """
    names = tuple(names)
    for name in names:
        if name not in SELECTORS:
            near = get_close_matches(name, SELECTORS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"selector {name!r} is unknown, known: {', '.join(SELECTORS)}{hint}"
            )
    evidence = check(evidence)
    if set(names) & set(WEIGHTED):
        evidence = evidence._replace(weights=weights_of(evidence))
    return {name: SELECTORS[name].score(evidence) for name in names}


__all__ = [
    "SELECTORS",
    "Evidence",
    "Selector",
    "back",
    "check",
    "circular",
    "density_ratio",
    "dev",
    "entropy",
    "information",
    "iwcv",
    "neighbourhood",
    "nuclear",
    "scores",
    "source_risk",
    "weights_of",
]
