"""Several sources, for targets that nobody has seen, as configs know them."""

from collections.abc import Mapping

from experiments.shift.entry import Entry

GENERALISATION: Mapping[str, Entry] = {}
