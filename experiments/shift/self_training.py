"""Self-training and few labels of the target, as configs know them."""

from collections.abc import Mapping

from experiments.shift.entry import Entry
from tl_jax.algorithms.adaptation.mcc import mcc

SELF_TRAINING: Mapping[str, Entry] = {"mcc": Entry(mcc)}
