"""Methods of adaptation that configs know, by name."""

from collections.abc import Mapping

from experiments.shift.adversarial import ADVERSARIAL
from experiments.shift.discrepancy import DISCREPANCY
from experiments.shift.entry import Entry
from experiments.shift.generalisation import GENERALISATION
from experiments.shift.normalisation import NORMALISATION
from experiments.shift.pixel import PIXEL
from experiments.shift.self_training import SELF_TRAINING

METHODS: Mapping[str, Entry] = {
    **DISCREPANCY,
    **ADVERSARIAL,
    **SELF_TRAINING,
    **NORMALISATION,
    **PIXEL,
    **GENERALISATION,
}
"""Name -> what a table `adapt = {name: {argument: value}}` makes."""
