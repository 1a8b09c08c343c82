"""Self-training and few labels of the target, as configs know them."""

from collections.abc import Mapping
from typing import Any

from experiments.shift.entry import Entry, classes
from experiments.shift.views import make_view
from tl_jax.algorithms import adaptation
from tl_jax.types import Player

SEEN = ("strong", "weak", "student", "teacher", "noise")
"""Arguments that are views, which stand as tables in a config."""


def viewed(table: Mapping[str, Any], players: Mapping[str, Player]) -> dict[str, Any]:
    """Arguments, whose views are made of tables."""
    return {
        name: make_view(value, name) if name in SEEN and value is not None else value
        for name, value in table.items()
    }


def of_head(table: Mapping[str, Any], players: Mapping[str, Player]) -> dict[str, Any]:
    """Arguments, with as many classes as the model's head says."""
    return {"classes": classes(players["model"])} | dict(table)


SELF_TRAINING: Mapping[str, Entry] = {
    "mcc": Entry(adaptation.mcc),
    "bnm": Entry(adaptation.bnm),
    "information_maximisation": Entry(adaptation.information_maximisation),
    "entropy_minimisation": Entry(adaptation.entropy_minimisation),
    "pseudo_labels": Entry(adaptation.pseudo_labels),
    "fixmatch": Entry(adaptation.fixmatch, given=viewed),
    "flexmatch": Entry(adaptation.flexmatch, given=viewed),
    "mean_teacher": Entry(adaptation.mean_teacher, given=viewed),
    "noisy_student": Entry(adaptation.noisy_student, given=viewed),
    "mme": Entry(adaptation.mme),
    "ccsa": Entry(adaptation.ccsa, labelled=True),
    "pada": Entry(adaptation.pada, given=of_head, label_sets="partial"),
}
"""`flexmatch` gets `examples`, the rows of all domains together, and for its warm-up
`count`, those of the target that train. `mme` is meant for the transform
`cosine_head`."""
