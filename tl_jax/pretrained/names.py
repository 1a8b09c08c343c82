"""Tables of names between our tree and a file, and the strict fit of one to the other.

A table is a list of rows (our site, the file's module, kind); `{i}` stands for a
block's number. Every tensor of a file and every leaf of a tree is accounted for.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]
Problem = tuple[str, str, Shape, str]
"""(kind, name, shape, remark)."""
Row = tuple[str, str, str]
"""(our site, the file's module, kind)."""
KINDS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "dense": (("{}/kernel", ".weight", "dense"), ("{}/bias", ".bias", "")),
    "kernel": (("{}/kernel", ".weight", "dense"),),
    "rows": (("{}/kernel", ".weight", ""), ("{}/bias", ".bias", "")),
    "conv": (("{}/kernel", ".weight", "conv"),),
    "conv+": (("{}/kernel", ".weight", "conv"), ("{}/bias", ".bias", "")),
    "listed": (("{}/kernel", ".0", ""), ("{}/bias", ".1", "")),
    "point": (("{}/kernel", ".0", "point"), ("{}/bias", ".1", "")),
    "norm": (("{}/scale", ".weight", ""), ("{}/bias", ".bias", "")),
    "scale": (("{}/scale", ".weight", ""),),
    "batch": (
        ("{}/scale", ".weight", ""),
        ("{}/bias", ".bias", ""),
        ("stats/{}/mean", ".running_mean", ""),
        ("stats/{}/var", ".running_var", ""),
    ),
    "table": (("{}/embedding", ".weight", ""),),
    "row": (("{}/embedding", "", "lead"),),
    "leaf": (("{}", "", ""),),
}
"""Kind -> (our leaf, the file's tensor, how its axes turn)."""
TURNS: dict[str, tuple[int, ...]] = {"dense": (1, 0), "conv": (2, 3, 1, 0)}
"""Turn -> our axes by their numbers in the file: [O I] -> [I O], OIHW -> HWIO (also
where each channel has its own kernel)."""
LEADS = {"lead": 1, "point": 2}
"""Turn -> how many first axes of 1 only the file has."""
OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
SHOWN = 12


class Misfit(ValueError):
    """The tensors of a file are not those of the tree."""


class Name(NamedTuple):
    """One leaf and the tensor that holds it."""

    ours: str
    theirs: str
    turn: str = ""


class Fused(NamedTuple):
    """Tensors that are several of ours side by side, along their last axis."""

    pattern: str
    """(module).(leaf) of the whole; the parts are `module.part.leaf`."""
    parts: tuple[str, ...]


class Layout(NamedTuple):
    """How a file of one architecture corresponds to a tree."""

    names: tuple[Name, ...]
    prefix: str
    """What may stand before the names of the body, e.g. `bert`."""
    heads: frozenset[str]
    """First words of names that never take the prefix."""
    tied: Mapping[str, str] = {}
    """The file's second name of a tensor -> our path; must hold the same values."""
    omit: Mapping[str, str] = {}
    """Pattern of names without prefix -> why they are left out."""
    required: tuple[str, ...] = ()
    """Second names that must be there, where the config says nothing is tied."""
    fused: Fused | None = None
    """What the file holds side by side."""


class Fit(NamedTuple):
    """Where every leaf comes from and where every other tensor went."""

    leaves: dict[str, Name]
    """The file's name -> its leaf."""
    tied: dict[str, str]
    """The file's name -> our path, of the copies."""
    omitted: dict[str, str]
    """The file's name -> why it is left out."""


def expand(rows: Sequence[Row], depth: int = 1) -> tuple[Name, ...]:
    """Rows as single leaves, with `{i}` from 0 to `depth` - 1."""
    names = []
    for ours, theirs, kind in rows:
        for i in range(depth if "{i}" in ours else 1):
            site, module = ours.format(i=i), theirs.format(i=i)
            names += [Name(a.format(site), module + b, t) for a, b, t in KINDS[kind]]
    return tuple(names)


def plain(name: str, prefix: str) -> str:
    """A file's name without the family's prefix, in today's words."""
    name = name.removeprefix(f"{prefix}.")
    for old, new in OLD.items():
        name = name.replace(old, new)
    return name


def full(name: str, layout: Layout, bare: bool) -> str:
    """The name that transformers writes today; `bare` for a body without a head."""
    if bare or name.split(".")[0] in layout.heads:
        return name
    return f"{layout.prefix}.{name}"


def fit(
    layout: Layout,
    leaves: Mapping[str, Shape],
    tensors: Mapping[str, Shape],
    where: str,
) -> Fit:
    """Account for every leaf and every tensor.

    `leaves` gives the tree's shapes by path, `tensors` the file's by name. Raises
    `Misfit` with all that is missing, unexpected or of another shape.
    """
    if odd := {name.ours for name in layout.names} ^ set(leaves):
        raise Misfit(f"the table of names and the tree differ in {sorted(odd)}")
    present, problems = _by_plain_name(tensors, layout.prefix)
    found = _sort(layout, leaves, present)
    gone = found.leaves.keys() | found.tied.keys() | found.omitted.keys()
    spare = [actual for actual in present.values() if actual not in gone]
    problems += [("unexpected", actual, tensors[actual], "") for actual in spare]
    problems += _missing(layout, leaves, present, found, spare)
    for actual, name in found.leaves.items():
        expected = their_shape(leaves[name.ours], name.turn)
        if tuple(tensors[actual]) != expected:
            text = f"expected {_size(expected)} for {name.ours}"
            problems.append(("wrong shape", actual, tensors[actual], text))
    if problems:
        raise Misfit(_report(problems, where))
    return found


def _sort(
    layout: Layout, leaves: Mapping[str, Shape], present: Mapping[str, str]
) -> Fit:
    """What each tensor of the file is; the unexpected ones are nowhere."""
    known = {name.theirs: name for name in layout.names}
    main = {known[p].ours for p in present if p in known}
    found = Fit({}, {}, {})
    for p, actual in present.items():
        path = layout.tied.get(p)
        if p in known:
            found.leaves[actual] = known[p]
        elif path in leaves and path not in main:  # the only copy that was saved
            found.leaves[actual] = Name(path, p)
        elif path in leaves:
            found.tied[actual] = path
        elif reason := _reason(p, layout.omit):
            found.omitted[actual] = reason
    return found


def _missing(
    layout: Layout,
    leaves: Mapping[str, Shape],
    present: Mapping[str, str],
    found: Fit,
    spare: Sequence[str],
) -> list[Problem]:
    have, problems = {name.ours for name in found.leaves.values()}, []
    for name in layout.names:
        if name.ours not in have:
            close = difflib.get_close_matches(name.theirs, spare, 1)
            shape = their_shape(leaves[name.ours], name.turn)
            text = f"nearest: {close[0]}" if close else ""
            problems.append(("missing", f"{name.theirs} ({name.ours})", shape, text))
    for second in sorted(set(layout.required) - set(present)):
        shape = leaves[layout.tied[second]]
        problems.append(("missing", second, shape, "tie_word_embeddings is false"))
    return problems


def their_shape(shape: Shape, turn: str) -> Shape:
    """The shape that a leaf has in the file."""
    if turn in LEADS:
        return (1,) * LEADS[turn] + tuple(shape)
    if turn in TURNS and len(shape) == len(TURNS[turn]):
        return tuple(shape[TURNS[turn].index(axis)] for axis in range(len(shape)))
    return tuple(shape)


def to_ours(array: np.ndarray, turn: str) -> np.ndarray:
    """A tensor of the file with the leaf's axes."""
    if turn in LEADS:
        return array.reshape(array.shape[LEADS[turn] :])
    return array.transpose(TURNS[turn]) if turn else array


def to_theirs(array: np.ndarray, turn: str) -> np.ndarray:
    """A leaf with the axes of the file."""
    if turn in LEADS:
        return array.reshape(their_shape(array.shape, turn))
    return array.transpose(np.argsort(TURNS[turn])) if turn else array


def _by_plain_name(
    tensors: Mapping[str, Shape], prefix: str
) -> tuple[dict[str, str], list[Problem]]:
    """Plain name -> the file's, and the tensors that are there twice."""
    present: dict[str, str] = {}
    problems: list[Problem] = []
    for actual in sorted(tensors):
        p = plain(actual, prefix)
        if p in present:
            text = f"the same tensor as {present[p]}"
            problems.append(("twice", actual, tensors[actual], text))
        present.setdefault(p, actual)
    return present, problems


def _reason(name: str, omit: Mapping[str, str]) -> str | None:
    for pattern, reason in omit.items():
        if re.fullmatch(pattern, name):
            return reason
    return None


def _size(shape: Shape) -> str:
    return "[" + " ".join(str(n) for n in shape) + "]"


def _report(problems: Sequence[Problem], where: str) -> str:
    lines = [f"the weights of {where} do not fit the model"]
    for kind in ("missing", "unexpected", "wrong shape", "twice"):
        own = [p for p in problems if p[0] == kind]
        if own:
            lines.append(f"{kind} ({len(own)}):")
        for _, name, shape, text in own[:SHOWN]:
            lines.append(f"  {name} {_size(shape)} {text}".rstrip())
        if len(own) > SHOWN:
            lines.append(f"  and {len(own) - SHOWN} more")
    return "\n".join(lines)
