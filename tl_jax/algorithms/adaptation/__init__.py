"""Adaptation from a source to a target domain: terms over both, and algorithms."""

from tl_jax.algorithms.adaptation.adapted import adapted
from tl_jax.algorithms.adaptation.forward import forward
from tl_jax.algorithms.adaptation.seen import Before, Found, Seen, Side, Term
from tl_jax.algorithms.adaptation.streams import (
    IMPORTANCE,
    LABELLED,
    SOURCE,
    TARGET,
    LeakedLabels,
    importance,
    sealed,
    unlabelled,
)

__all__ = [
    "IMPORTANCE",
    "LABELLED",
    "SOURCE",
    "TARGET",
    "Before",
    "Found",
    "LeakedLabels",
    "Seen",
    "Side",
    "Term",
    "adapted",
    "forward",
    "importance",
    "sealed",
    "unlabelled",
]
