"""Many devices: a mesh, rules that say which leaf lies where, and processes."""

from tl_jax.distribute.detect import DETECTED
from tl_jax.distribute.layout import Layout, layout
from tl_jax.distribute.mesh import AXES, BATCH_AXES, make_mesh, mesh_size, parse_axes
from tl_jax.distribute.placement import (
    gather,
    local,
    place,
    place_batch,
    replicate,
    share,
)
from tl_jax.distribute.processes import (
    Cluster,
    Lost,
    agree,
    cluster_of,
    connect,
    is_first,
    leave,
    lost,
    meet,
    part,
)
from tl_jax.distribute.rules import RULES, Rule, Ruled, apply_rules, describe_rules

__all__ = [
    "AXES",
    "BATCH_AXES",
    "DETECTED",
    "RULES",
    "Cluster",
    "Layout",
    "Lost",
    "Rule",
    "Ruled",
    "agree",
    "apply_rules",
    "cluster_of",
    "connect",
    "describe_rules",
    "gather",
    "is_first",
    "layout",
    "leave",
    "local",
    "lost",
    "make_mesh",
    "meet",
    "mesh_size",
    "parse_axes",
    "part",
    "place",
    "place_batch",
    "replicate",
    "share",
]
