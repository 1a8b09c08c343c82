"""Methods of adaptation that configs know, by name."""

from collections.abc import Mapping

from experiments.shift.entry import Entry

METHODS: Mapping[str, Entry] = {}
