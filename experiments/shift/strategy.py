"""What a strategy does about a target domain, beside the terms of its phases."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.shift.settings import shift_of

Tables = Mapping[str, Mapping[str, Any]]
NONE: Tables = MappingProxyType({})


class Shift(NamedTuple):
    """A strategy's ways with the target domain."""

    opened: int = 0
    """Rows a class of the target whose labels are open; -1: all that train."""
    source: bool = True
    """Whether the source's rows are trained on."""
    reweigh: Tables = NONE
    """What gives the source's rows their importance: one method, or none."""
    align: Tables = NONE
    """What maps both domains' features before anything is fitted: one, or none."""

    @property
    def plain(self) -> bool:
        """True where a strategy takes the problem as it comes."""
        return self == Shift()


def make_shift(own: Mapping[str, Any], at: str, config: ConfigDict) -> Shift:
    """A strategy's fields about the target domain, checked.

    Raises ValueError with the place in the config, NoMatch for an unknown method.
    """
    made = Shift(
        own["target_labelled"],
        bool(own["source"]),
        _table(own["reweigh"], f"{at}.reweigh"),
        _table(own["align"], f"{at}.align"),
    )
    if not shift_of(config).target:
        if not made.plain:
            raise ValueError(
                f"{at}: target_labelled, source, reweigh and align are about a target "
                "domain, but config.shift.target is empty"
            )
        return made
    _check(made, at, config)
    if _fits(own) and (made.opened or not made.source):
        raise ValueError(
            f"{at}.fit fits rows of the source alone, but target_labelled is "
            f"{made.opened} and source {made.source}; train by steps instead"
        )
    return made


def _fits(own: Mapping[str, Any]) -> bool:
    phases = dict(own["phases"]).values()
    return bool(own["fit"]) or any(part.get("fit") for part in phases)


def _check(made: Shift, at: str, config: ConfigDict) -> None:
    from experiments.shift.alignments import ALIGNMENTS, SUPERVISED
    from experiments.shift.weightings import WEIGHTINGS
    from tl_jax.tree import one_of

    opened = made.opened
    if isinstance(opened, bool) or not isinstance(opened, int) or opened < -1:
        raise ValueError(
            f"{at}.target_labelled is {opened!r}, expected rows a class, 0 for none, "
            "-1 for all"
        )
    if not made.source and not opened and not _targets(config, at):
        raise ValueError(
            f"{at}.source is False, and target_labelled is 0: nothing trains; open "
            "labels of the target, or give terms in `adapt`"
        )
    for field, table, known in (
        ("reweigh", made.reweigh, WEIGHTINGS),
        ("align", made.align, ALIGNMENTS),
    ):
        if len(table) > 1:
            raise ValueError(
                f"{at}.{field} names {' and '.join(table)}, expected one method"
            )
        for name, own in table.items():
            one_of(f"{at}.{field}", name, known)
            takes = inspect.signature(known[name]).parameters
            for argument in own:
                one_of(f"{at}.{field}.{name}: argument", argument, takes)
    if made.align.keys() & SUPERVISED and not opened:
        raise ValueError(
            f"{at}.align: {', '.join(made.align)} learns from labels of the target, "
            "but target_labelled is 0"
        )
    if made.align and not config.shift.features:
        raise ValueError(
            f"{at}.align maps features that are computed once, but "
            "config.shift.features is False"
        )


def _targets(config: ConfigDict, at: str) -> bool:
    """Whether a strategy has terms anywhere."""
    own = config.strategies[at.rsplit(".", 1)[-1]]
    phases = own.get("phases", {}).values()
    return bool(own.get("adapt")) or any(part.get("adapt") for part in phases)


def _table(given: Any, at: str) -> Tables:
    if not isinstance(given, Mapping | ConfigDict):
        raise ValueError(f"{at} is {given!r}, expected a table: {{name: {{...}}}}")
    for name, own in given.items():
        if not isinstance(own, Mapping | ConfigDict):
            raise ValueError(f"{at}.{name} is {own!r}, expected a table of arguments")
    return {name: dict(own) for name, own in given.items()}
