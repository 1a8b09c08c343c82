"""What a config has to know about a method of adaptation."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tl_jax.models import mlp
from tl_jax.transfer import full, rate
from tl_jax.tree import stable_key
from tl_jax.types import Key, Model, Player

Extra = Callable[[Key, Player], dict[str, Player]]
"""(key, the model's player) -> who plays beside it."""


def nobody(table: dict[str, Any]) -> Extra:
    """The model plays by itself."""
    return lambda key, player: {}


def as_given(table: Mapping[str, Any], players: Mapping[str, Player]) -> dict[str, Any]:
    """A method's arguments are what the table says."""
    return dict(table)


class Entry(NamedTuple):
    """A method of adaptation by name."""

    make: Callable[..., Any]
    """Gives a `Term`, with the task's `loss` and `weigh` where it takes them; or, if it
    is `whole`, an `Algorithm`:
    `make(players, loss, *, steps, weigh, clip, labelled, joint, clock, **own)`, of
    which it is given what it takes."""
    cast: Callable[[dict[str, Any]], Extra] = nobody
    """(the method's table) -> who plays beside the model; takes its fields out."""
    whole: bool = False
    """An algorithm of its own, beside which there are no other terms."""
    streams: str = "domains"
    """What its steps read: `domains`, or `source` or `target` alone."""
    tasks: tuple[str, ...] = ("classification",)
    given: Callable[[Mapping[str, Any], Mapping[str, Player]], dict[str, Any]] = (
        as_given
    )
    """(table, players) -> arguments: where some must be made of tables or players."""
    labelled: bool = False
    """Whether it needs labels of the target that are open."""
    label_sets: str = "same"
    """`partial` where the source may have classes that the target has not."""


class Cast(NamedTuple):
    """A network beside the model: `{"widths": (...), "rate": 1.0, ...}` of a table."""

    name: str
    inputs: Callable[[Player], int]
    outputs: Callable[[Player], int]
    widths: tuple[int, ...] = (256, 256)
    batch_norms: bool = False
    model: Callable[..., Model] = mlp

    def __call__(self, table: dict[str, Any]) -> Extra:
        """Take the network's own table, if there is one, out of the method's."""
        own = dict(table.pop(self.name, {}))
        factor = own.pop("rate", 1.0)
        own = {"widths": self.widths, "batch_norms": self.batch_norms} | own
        own["widths"] = tuple(own["widths"])

        def cast(key: Key, player: Player) -> dict[str, Player]:
            sizes = dict(classes=self.outputs(player))
            made = self.model(self.inputs(player), **sizes, **own)
            key = stable_key(key, self.name)
            plan = full(*made.init(key))
            if factor != 1:
                plan = rate(".*", factor)(key, plan)
            return {self.name: Player(made, plan, player.tx)}

        return cast


def features(player: Player) -> int:
    """The width of the model's features."""
    return player.model.width


def classes(player: Player) -> int:
    """The width of the model's head."""
    return player.plan.params["head"]["kernel"].shape[-1]


def one(player: Player) -> int:
    """A critic's single logit."""
    return 1


def several(*casts: Callable[[dict[str, Any]], Extra]) -> Callable[[dict], Extra]:
    """All of several casts."""

    def made(table: dict[str, Any]) -> Extra:
        parts = [cast(table) for cast in casts]

        def cast(key: Key, player: Player) -> dict[str, Player]:
            found: dict[str, Player] = {}
            for part in parts:
                found |= part(key, player)
            return found

        return cast

    return made
