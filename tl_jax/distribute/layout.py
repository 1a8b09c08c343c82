"""A layout: a mesh and the rules by which leaves lie on it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tl_jax.distribute.mesh import BATCH_AXES, make_mesh, parse_axes
from tl_jax.distribute.rules import RULES, Rule, Ruled, apply_rules
from tl_jax.tree import map_with_path


class Layout(NamedTuple):
    """Where everything lies; make one with `layout`."""

    mesh: Mesh
    rules: tuple[Rule, ...] = RULES

    @property
    def axes(self) -> dict[str, int]:
        """Axis -> size."""
        return dict(self.mesh.shape)

    @property
    def batch_parts(self) -> int:
        """Into how many parts a batch's rows are cut."""
        parts = 1
        for axis in BATCH_AXES:
            parts *= self.axes.get(axis, 1)
        return parts

    @property
    def everywhere(self) -> NamedSharding:
        """The whole of it on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def rows(self, before: int = 0) -> NamedSharding:
        """Rows over the batch's axes, behind `before` whole dimensions."""
        axes = tuple(axis for axis in BATCH_AXES if axis in self.axes)
        return NamedSharding(self.mesh, PartitionSpec(*[None] * before, axes))

    def ruled(self, tree: Any) -> Ruled:
        """What the rules say of a tree."""
        return apply_rules(self.rules, tree, self.axes)

    def unused(self, tree: Any) -> tuple[str, ...]:
        """The rules that the user gave beside the default ones and match nothing."""
        own = {rule for rule, _ in self.rules[: len(self.rules) - len(RULES)]}
        return tuple(rule for rule in self.ruled(tree).unused if rule in own)

    def shardings(self, tree: Any) -> Any:
        """A tree of the same structure that holds each leaf's sharding."""
        specs = self.ruled(tree).specs
        return map_with_path(
            lambda path, leaf: NamedSharding(self.mesh, specs[path]), tree
        )

    def constrain(self, tree: Any) -> Any:
        """The tree, laid by the rules within a compiled function."""
        return jax.tree.map(lax.with_sharding_constraint, tree, self.shardings(tree))

    def abstract(self, tree: Any) -> Any:
        """Shapes, dtypes and shardings of a tree, for lowering without arrays."""
        return jax.tree.map(
            lambda leaf, own: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=own
            ),
            tree,
            self.shardings(tree),
        )


def layout(
    axes: str = "", rules: Sequence[Rule] = (), devices: Sequence | None = None
) -> Layout:
    """A layout from a line of text, `data=4,model=2`; empty: all devices share rows.

    `rules` come before the default ones. Raises what `parse_axes` and `apply_rules` do.
    """
    count = jax.device_count() if devices is None else len(devices)
    mesh = make_mesh(parse_axes(axes, count), devices)
    made = Layout(mesh, (*rules, *RULES))
    made.ruled({})
    return made
