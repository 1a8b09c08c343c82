"""Meta-learning: learners of tasks, and how they are learned."""

from tl_jax.algorithms.meta.bare import bare
from tl_jax.algorithms.meta.baseline import baseline
from tl_jax.algorithms.meta.curvature import identity_curvature, meta_curvature
from tl_jax.algorithms.meta.episodic import episodic, predicting, query_loss
from tl_jax.algorithms.meta.heads import Head, learned, on_model
from tl_jax.algorithms.meta.implicit import Implicit
from tl_jax.algorithms.meta.inner import Inner, adapt, inner_rates, joined
from tl_jax.algorithms.meta.learner import Embedded, Learner, Seen
from tl_jax.algorithms.meta.logistic import linear_probe, logistic
from tl_jax.algorithms.meta.maml import maml
from tl_jax.algorithms.meta.maml_plus_plus import (
    maml_plus_plus,
    per_step_rates,
    step_weights,
)
from tl_jax.algorithms.meta.matching import matching
from tl_jax.algorithms.meta.meta_sgd import learned_rates, meta_sgd
from tl_jax.algorithms.meta.metaoptnet import metaoptnet
from tl_jax.algorithms.meta.nearest import neighbours, simpleshot
from tl_jax.algorithms.meta.oracle import oracle
from tl_jax.algorithms.meta.prototypical import prototypical
from tl_jax.algorithms.meta.r2d2 import r2d2
from tl_jax.algorithms.meta.relation import relation, relation_error
from tl_jax.algorithms.meta.reptile import reptile, reptile_gradient
from tl_jax.algorithms.meta.sampled import RESIDENT, TASK, sampled
from tl_jax.algorithms.meta.setfit import setfit
from tl_jax.algorithms.meta.starts import (
    fine_tune,
    present_head,
    proto_maml,
    prototype_head,
    zero_head,
)
from tl_jax.algorithms.meta.tasks import over_tasks

__all__ = [
    "RESIDENT",
    "TASK",
    "Embedded",
    "Head",
    "Implicit",
    "Inner",
    "Learner",
    "Seen",
    "adapt",
    "bare",
    "baseline",
    "episodic",
    "fine_tune",
    "identity_curvature",
    "inner_rates",
    "joined",
    "learned",
    "learned_rates",
    "linear_probe",
    "logistic",
    "maml",
    "maml_plus_plus",
    "matching",
    "meta_curvature",
    "meta_sgd",
    "metaoptnet",
    "neighbours",
    "on_model",
    "oracle",
    "over_tasks",
    "per_step_rates",
    "predicting",
    "present_head",
    "proto_maml",
    "prototype_head",
    "prototypical",
    "query_loss",
    "r2d2",
    "relation",
    "relation_error",
    "reptile",
    "reptile_gradient",
    "sampled",
    "setfit",
    "simpleshot",
    "step_weights",
    "zero_head",
]
