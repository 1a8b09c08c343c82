"""Pictures of one domain drawn as of the other, as configs know them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.shift.entry import Entry
from tl_jax.algorithms.adaptation.cycada import cycada
from tl_jax.algorithms.adaptation.cyclegan import (
    SOURCE_CRITIC,
    TARGET_CRITIC,
    TO_SOURCE,
    TO_TARGET,
)
from tl_jax.algorithms.adaptation.fourier import fourier
from tl_jax.algorithms.adaptation.soft_transfer import soft_transfer
from tl_jax.models import generator, patch_critic
from tl_jax.transfer import full, rate
from tl_jax.tree import stable_key
from tl_jax.types import Key, Model, Player

SIZES = {"size": 28, "channels": 1}
"""Of the pictures, beside a method's own arguments."""

QUICK = {"form": "lax"}
"""Compiles in a fourth of the time of "auto", which steps a seventh faster."""


class Kind(NamedTuple):
    """A network that two players have, and its usual fields."""

    model: Callable[..., Model]
    players: tuple[str, str]
    usual: Mapping[str, Any]


KINDS = {
    "generator": Kind(
        generator,
        (TO_TARGET, TO_SOURCE),
        {"width": 16, "depth": 3, "halvings": 1, "rate": 1.0} | QUICK,
    ),
    "critic": Kind(
        patch_critic,
        (TARGET_CRITIC, SOURCE_CRITIC),
        {"width": 16, "depth": 2, "rate": 1.0} | QUICK,
    ),
}
"""The table in a method's table -> who it makes."""


def translators(table: dict[str, Any]):
    """`generator = {...}` and `critic = {...}` of a table make two players each."""
    sizes = {name: table.get(name, usual) for name, usual in SIZES.items()}
    tables = {
        name: kind.usual | dict(table.pop(name, {})) for name, kind in KINDS.items()
    }

    def cast(key: Key, player: Player) -> dict[str, Player]:
        made = {}
        for kind, own in tables.items():
            fields = {name: value for name, value in own.items() if name != "rate"}
            model = KINDS[kind].model(**sizes, **fields)
            for name in KINDS[kind].players:
                own_key = stable_key(key, name)
                plan = full(*model.init(own_key))
                if own["rate"] != 1:
                    plan = rate(".*", own["rate"])(own_key, plan)
                made[name] = Player(model, plan, player.tx)
        return made

    return cast


def sized(make: Callable[..., Any]) -> Callable[..., Any]:
    """A method with `size` and `channels` in place of its argument `shape`."""

    def made(**own: Any) -> Any:
        given = SIZES | own
        size, channels = (given.pop(name) for name in SIZES)
        return make(shape=(size, size, channels), **given)

    known = inspect.signature(make)
    fields = [p for name, p in known.parameters.items() if name != "shape"]
    only = inspect.Parameter.KEYWORD_ONLY
    fields += [inspect.Parameter(n, only, default=SIZES[n]) for n in SIZES]
    made.__signature__ = known.replace(parameters=fields)
    made.__name__ = make.__name__
    return made


PIXEL: Mapping[str, Entry] = {
    "fourier": Entry(fourier, tasks=("classification", "regression")),
    "cycada": Entry(sized(cycada), translators, whole=True),
    "soft_transfer": Entry(soft_transfer, labelled=True),
}
