"""Several sources, for targets that nobody has seen, as configs know them."""

from collections.abc import Mapping
from typing import Any

from experiments.algorithms import PLAYER
from experiments.shift.entry import Entry, classes
from tl_jax.algorithms.adaptation import SOURCE
from tl_jax.algorithms.generalisation import group_dro, irm, mixup_domains, vrex
from tl_jax.types import Player


def given(table: Mapping[str, Any], players: Mapping[str, Player]) -> dict[str, Any]:
    """The arguments, with the head's classes where they are not said."""
    return {"classes": classes(players[PLAYER]), **table}


ANY = ("classification", "regression")
GENERALISATION: Mapping[str, Entry] = {
    "irm": Entry(irm, streams=SOURCE, tasks=ANY),
    "vrex": Entry(vrex, streams=SOURCE, tasks=ANY),
    "group_dro": Entry(group_dro, streams=SOURCE, tasks=ANY),
    "mixup_domains": Entry(mixup_domains, streams=SOURCE, given=given),
}
"""They read the sources alone: not one row of the target reaches a batch norm."""
