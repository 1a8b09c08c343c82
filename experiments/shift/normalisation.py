"""Statistics and norms of domains; adaptation while testing, as configs know them."""

from collections.abc import Mapping

from experiments.shift.entry import Entry

NORMALISATION: Mapping[str, Entry] = {}
