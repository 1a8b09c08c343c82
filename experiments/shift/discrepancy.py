"""Distances of two domains, as configs know them."""

from collections.abc import Mapping
from typing import Any

from experiments.shift.entry import Entry
from tl_jax.algorithms.adaptation import discrepancy
from tl_jax.losses.discrepancy import Gaussians, Sinkhorn
from tl_jax.tree import no_match
from tl_jax.types import Player


def given(table: Mapping[str, Any], players: Mapping[str, Player]) -> dict[str, Any]:
    """Arguments, whose kernels and ways of transport stand as tables in a config."""
    own = dict(table)
    if "kernel" in own:
        own["kernel"] = record(Gaussians, "kernel", own["kernel"])
    if "kernels" in own:
        own["kernels"] = [record(Gaussians, "kernels", k) for k in own["kernels"]]
    if "how" in own:
        own["how"] = record(Sinkhorn, "how", own["how"])
    return own


def record(kind: Any, where: str, table: Any) -> Any:
    """A record from its table; one that is there already stays as it is."""
    if isinstance(table, kind):
        return table
    fields = dict(table)
    for name in fields:
        if name not in kind._fields:
            raise no_match(f"{where}: field", name, kind._fields)
    if "scales" in fields:
        fields["scales"] = tuple(fields["scales"])
    return kind(**fields)


ANY = ("classification", "regression")
DISCREPANCY: Mapping[str, Entry] = {
    "mmd": Entry(discrepancy.mmd, tasks=ANY, given=given),
    "dan": Entry(discrepancy.dan, tasks=ANY, given=given),
    "jan": Entry(discrepancy.jan, given=given),
    "coral": Entry(discrepancy.coral, tasks=ANY),
    "cmd": Entry(discrepancy.cmd, tasks=ANY),
    "sliced": Entry(discrepancy.sliced, tasks=ANY),
    "deep_jdot": Entry(discrepancy.deep_jdot, given=given),
}
