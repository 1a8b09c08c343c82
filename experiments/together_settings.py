"""What must hold of strategies that run together."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from experiments.tasks import EPISODIC, TEXTS

MAY_DIFFER = ("title", "note", "rate", "plan", "trials")
"""Fields of strategies that run together; plans only in values and ranks."""


def check_together(config: ConfigDict, chosen: Sequence[str]) -> None:
    """Raise ValueError, by the field, for what can't run together."""
    if not config.together:
        return
    wanted = {"select": "last", "patience": 0, "optimiser.end": 0.0}
    for name, value in wanted.items():
        found = config
        for part in name.split("."):
            found = found[part]
        if found != value:
            raise ValueError(
                f"config.{name} is {found!r}, expected {value!r} with config.together"
            )
    if config.task in (*EPISODIC, *TEXTS, "tokens", "span"):
        raise ValueError(
            f"config.together is {config.together!r}, but config.task is "
            f"{config.task!r}: runs together read one row of scores an example"
        )
    first = dict(config.strategies[chosen[0]])
    for name in chosen:
        own = dict(config.strategies[name])
        for field in (own.keys() | first.keys()) - set(MAY_DIFFER):
            if own.get(field) != first.get(field):
                raise ValueError(
                    f"config.strategies.{name}.{field} is {own.get(field)!r}, but "
                    f"that of {chosen[0]!r}, with which it runs together, is "
                    f"{first.get(field)!r}; they may differ in {', '.join(MAY_DIFFER)}"
                )
        if own.get("fit") or own.get("phases"):
            raise ValueError(
                f"config.strategies.{name} has phases or a fit; with config.together "
                "a strategy is one phase of steps"
            )
