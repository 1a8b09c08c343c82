"""Adversaries of domains, as configs know them."""

from collections.abc import Mapping
from typing import Any

from experiments.shift.entry import Cast, Entry, Extra, classes, features, one
from tl_jax.algorithms.adaptation import adda, cdan, dann, mcd, mdd, wdgrl
from tl_jax.models import mlp, readout
from tl_jax.types import Model, Player


def conditioned(table: dict[str, Any]) -> Extra:
    """A critic of CDAN's products, or of their projection to `size` numbers."""
    size = table.get("size")

    def pairs(player: Player) -> int:
        return size or features(player) * classes(player)

    return Cast("critic", pairs, one, batch_norms=True)(table)


def with_classes(
    table: Mapping[str, Any], players: Mapping[str, Player]
) -> dict[str, Any]:
    """The table's arguments, and how many classes the model's head has."""
    return {"classes": classes(players["model"]), **table}


def second_head(
    inputs: int, widths: tuple[int, ...] = (), *, classes: int, **how: Any
) -> Model:
    """A linear layer, as the model's own head is, or a network of such widths."""
    if not widths:
        return readout(inputs, classes)
    return mlp(inputs, widths, classes=classes, **how)


SECOND = Cast("second", features, classes, widths=(), model=second_head)
CRITIC = Cast("critic", features, one, batch_norms=True)
SMOOTH = Cast("critic", features, one)
"""Of slopes that are penalised row by row, for which norms of a batch are no good."""
ADVERSARIAL: Mapping[str, Entry] = {
    "dann": Entry(dann, CRITIC, tasks=("classification", "regression")),
    "cdan": Entry(cdan, conditioned, given=with_classes),
    "mdd": Entry(mdd, Cast("adversary", features, classes)),
    "mcd": Entry(mcd, SECOND, whole=True),
    "adda": Entry(adda, CRITIC, whole=True),
    "wdgrl": Entry(wdgrl, SMOOTH, whole=True, tasks=("classification", "regression")),
}
"""A critic is a network of its own, with batch norms as TLlib's:
`{"dann": {"critic": {"widths": (15,), "batch_norms": False}}}`."""
