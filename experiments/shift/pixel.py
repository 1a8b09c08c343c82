"""Pictures of one domain drawn as of the other, as configs know them."""

from collections.abc import Mapping

from experiments.shift.entry import Entry

PIXEL: Mapping[str, Entry] = {}
