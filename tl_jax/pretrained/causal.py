"""What configs of causal models say of their heads, the same in all families."""

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from tl_jax.models.causal import Over
from tl_jax.pretrained.family import (
    DROPPED,
    Unsupported,
    architecture_of,
    labels_of,
    refuse,
)
from tl_jax.pretrained.files import did_you_mean
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.names import Layout, Row, expand
from tl_jax.types import Model


class Heads(NamedTuple):
    """The architectures of a family."""

    table: Mapping[str, tuple[Over, str]]
    """Name -> (what its head reads, the head's module)."""
    body: str
    """The name of a body alone."""
    start: str
    """What all names begin with."""
    tied: bool
    """What a config says that says nothing of ties."""


class Chosen(NamedTuple):
    """The head of one model."""

    named: str
    """The config's architecture."""
    module: str | None
    """The file's name of the head; None without one."""
    over: Over
    tied: bool
    """Whether the output layer is the input embedding."""

    @property
    def kept(self) -> bool:
        """Whether the tree has the file's head."""
        return self.module is not None


def choose(
    heads: Heads, config: Mapping[str, Any], head: str, over: Over | None
) -> Chosen:
    """The head that a config describes, kept or dropped.

    Raises `Unsupported` for an unknown architecture unless its head is dropped,
    ValueError for options that contradict it.
    """
    named, table = _architecture(heads, config, head)
    kept = table if head == "keep" else None
    over = _over(over, named, kept)
    tied = kept is not None and over == "vocabulary" and _ties(heads, config)
    return Chosen(named, kept[1] if kept else None, over, tied)


def architecture(
    heads: Heads, config: Mapping[str, Any], options: Mapping[str, Any], has_head: bool
) -> str:
    """The name of a tree to be saved; a tied head is not in it."""
    if has_head:
        names = {over: name for name, (over, _) in heads.table.items()}
        return names[options["over"]]
    named, table = _architecture(heads, config, options["head"])
    kept = table is not None and options["head"] == "keep"
    words = kept and options["over"] == "vocabulary" and _ties(heads, config)
    return named if words else heads.body


def _architecture(
    heads: Heads, config: Mapping[str, Any], head: str
) -> tuple[str, tuple[Over, str] | None]:
    if head not in ("keep", "drop"):
        raise ValueError(f"head={head!r}; {did_you_mean(head, ('keep', 'drop'))}")
    name = architecture_of(config) or heads.body
    if name in heads.table or name == heads.body:
        return name, heads.table.get(name)
    if head == "drop" and name.startswith(heads.start):
        return name, None
    raise Unsupported(
        f"config.json: architectures names {name!r}; known: {heads.body}, "
        f"{', '.join(heads.table)}; with head='drop' its head is left out"
    )


def _over(over: Over | None, named: str, table: tuple[Over, str] | None) -> Over:
    if over is not None and over not in get_args(Over):
        raise ValueError(f"over={over!r}; {did_you_mean(over, get_args(Over))}")
    if table is None:
        return over or "sequence"
    if over not in (None, table[0]):
        raise ValueError(
            f"over={over!r}, but the head of {named} reads {table[0]!r}; "
            f"drop it with head='drop'"
        )
    return table[0]


def _ties(heads: Heads, config: Mapping[str, Any]) -> bool:
    found = config.get("tie_word_embeddings")
    refuse(config, {"tie_word_embeddings": (None, True, False)})
    return heads.tied if found is None else bool(found)


def layout(
    heads: Heads,
    rows: list[Row],
    depth: int,
    prefix: str,
    chosen: Chosen,
    head: str,
    omit: Mapping[str, str],
) -> Layout:
    """Names of the body's rows and of the head."""
    rows, ties, omit = list(rows), {}, dict(omit)
    if chosen.tied:
        ties = {f"{chosen.module}.weight": "embed/tokens/embedding"}
    elif chosen.module is not None:
        rows.append(("head", chosen.module, "kernel"))
    words = frozenset(module for _, module in heads.table.values())
    if head == "drop":
        omit |= {rf"{word}\..*": DROPPED for word in sorted(words)}
    return Layout(expand(rows, depth), prefix, words, ties, omit)


def leaves(
    model: Model, config: Mapping[str, Any], chosen: Chosen
) -> dict[str, tuple[int, ...]]:
    """Shapes of all leaves, the kept head's among them."""
    found = shapes_of(model)
    if not chosen.kept:
        found.pop("head/kernel", None)
    elif chosen.over == "sequence":
        found["head/kernel"] = (model.width, labels_of(config))
    return found
