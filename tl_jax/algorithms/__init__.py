"""Algorithms: a state, stages that change it, and a way to predict."""

from tl_jax.algorithms.augmented import augmented, augmented_steps, per_task
from tl_jax.algorithms.averaged import AVERAGE, averaged
from tl_jax.algorithms.core import (
    algorithm,
    current,
    descend,
    ema,
    replan,
    sequence,
)
from tl_jax.algorithms.groups import Group
from tl_jax.algorithms.many import Each, many, one_of_many
from tl_jax.algorithms.penalised import START, Penalty, Seen
from tl_jax.algorithms.penalties import (
    bss,
    co_tuning,
    delta,
    l2_sp,
    near_identity,
    orthogonal,
    sparse_diffs,
)
from tl_jax.algorithms.rules import accumulated, clipped, plain
from tl_jax.algorithms.supervised import supervised, weight_of

__all__ = [
    "AVERAGE",
    "START",
    "Each",
    "Group",
    "Penalty",
    "Seen",
    "accumulated",
    "algorithm",
    "augmented",
    "augmented_steps",
    "averaged",
    "bss",
    "clipped",
    "co_tuning",
    "current",
    "delta",
    "descend",
    "ema",
    "l2_sp",
    "many",
    "near_identity",
    "one_of_many",
    "orthogonal",
    "per_task",
    "plain",
    "replan",
    "sequence",
    "sparse_diffs",
    "supervised",
    "weight_of",
]
