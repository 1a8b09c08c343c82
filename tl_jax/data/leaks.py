"""What flatters a few-shot result without learning anything, looked for in a batch."""

import math
from typing import Any

import numpy as np

from tl_jax.types import Batch

CHANCE = 1e-9
"""Below this an order does not come about by chance."""


def check_episodes(batch: Batch, labels: Any, groups: Any = None) -> None:
    """Raise ValueError where a batch of episodes leaks; leaves [K B ...].

    labels and groups [N] are the source's. Named are, with the episode: a row in
    support and query, or twice; a group in both; a label that stands for two classes
    or differs between the two; queries of a class without support; and rows or classes
    that come in an order, as far as that is no chance.
    """
    sides = {side: _seen(batch[side]) for side in ("support", "query")}
    labels = np.asarray(labels)
    for k in range(len(batch["support"]["index"])):
        support, query = (sides[side][k] for side in ("support", "query"))
        _apart(k, "row", support[0], query[0])
        for side, (rows, _) in zip(sides, (support, query), strict=True):
            if len(np.unique(rows)) < len(rows):
                raise ValueError(f"episode {k}: a row is in {side} twice")
        if groups is not None:
            group = np.asarray(groups)
            _apart(k, "group", group[support[0]], group[query[0]])
        _same_classes(k, labels, support, query)
    for side, seen in sides.items():
        _no_order(side, [own for _, own in seen])
    _no_sorted_classes(labels, sides["support"])


def _seen(stream: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, labels) of the examples that count, an episode each."""
    index, own, weight = (np.asarray(stream[n]) for n in ("index", "labels", "weight"))
    return [(index[k][weight[k] > 0], own[k][weight[k] > 0]) for k in range(len(index))]


def _apart(k: int, what: str, support: np.ndarray, query: np.ndarray) -> None:
    both = np.intersect1d(support, query)
    if len(both):
        raise ValueError(
            f"episode {k}: {what} {both[0]} is in support and in query, and "
            f"{len(both) - 1} more"
        )


def _same_classes(k: int, labels: np.ndarray, support: tuple, query: tuple) -> None:
    """Each label stands for one class, the same on both sides."""
    meaning: dict[int, int] = {}
    for own, true in zip(support[1], labels[support[0]], strict=True):
        if meaning.setdefault(int(own), int(true)) != true:
            both = f"{meaning[int(own)]} and {true}"
            raise ValueError(f"episode {k}: label {own} stands for classes {both}")
    if len(set(meaning.values())) < len(meaning):
        raise ValueError(f"episode {k}: a class has two labels: {meaning}")
    for own, true in zip(query[1], labels[query[0]], strict=True):
        if meaning.get(int(own)) != true:
            stands = meaning.get(int(own), "none")
            raise ValueError(
                f"episode {k}: a query of class {true} has label {own}, which is class "
                f"{stands} in support"
            )


def _no_order(side: str, found: list[np.ndarray]) -> None:
    found = [own for own in found if len(own)]
    chance = [_chance(own) for own in found]
    ordered = all((np.diff(own) >= 0).all() for own in found)
    if ordered and sum(chance) < math.log(CHANCE):
        raise ValueError(f"{side}: rows come in the order of their labels: shuffle")
    same = all(np.array_equal(found[0], own) for own in found[1:])
    if same and sum(chance[1:]) < math.log(CHANCE):
        raise ValueError(f"{side}: labels come in one order in every episode: shuffle")


def _chance(own: np.ndarray) -> float:
    """Log probability of one order of these labels."""
    counts = np.unique(own, return_counts=True)[1]
    return sum(map(math.lgamma, counts + 1.0)) - math.lgamma(len(own) + 1)


def _no_sorted_classes(labels: np.ndarray, seen: list) -> None:
    """Label 0 is not always the first class, label 1 the second and so on."""
    chance = 0.0
    for rows, own in seen:
        ways, first = np.unique(own, return_index=True)
        if not (np.diff(labels[rows][first]) > 0).all():
            return
        chance -= math.lgamma(len(ways) + 1)
    if chance < math.log(CHANCE):
        raise ValueError("labels follow the order of classes in every episode: shuffle")
