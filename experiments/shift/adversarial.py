"""Adversaries of domains, as configs know them."""

from collections.abc import Mapping

from experiments.shift.entry import Entry

ADVERSARIAL: Mapping[str, Entry] = {}
