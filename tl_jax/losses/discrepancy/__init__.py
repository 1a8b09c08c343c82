"""Distances between two sets of features: scalars, of weighted rows."""

from tl_jax.losses.discrepancy.coral import coral
from tl_jax.losses.discrepancy.joint_mmd import JAN, jmmd
from tl_jax.losses.discrepancy.kernels import Gaussians
from tl_jax.losses.discrepancy.mmd import DAN, MIXTURE, mk_mmd, mmd
from tl_jax.losses.discrepancy.moments import cmd
from tl_jax.losses.discrepancy.sliced import sliced_wasserstein
from tl_jax.losses.discrepancy.transport import (
    USUAL,
    Sinkhorn,
    joint_transport,
    transport_cost,
    transport_plan,
)

__all__ = [
    "DAN",
    "JAN",
    "MIXTURE",
    "USUAL",
    "Gaussians",
    "Sinkhorn",
    "cmd",
    "coral",
    "jmmd",
    "joint_transport",
    "mk_mmd",
    "mmd",
    "sliced_wasserstein",
    "transport_cost",
    "transport_plan",
]
