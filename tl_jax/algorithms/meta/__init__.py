"""Meta-learning: learners of tasks, and how they are learned."""

from tl_jax.algorithms.meta.baseline import baseline
from tl_jax.algorithms.meta.episodic import episodic, predicting, query_loss
from tl_jax.algorithms.meta.heads import Head, learned, on_model
from tl_jax.algorithms.meta.inner import Inner, adapt, inner_rates
from tl_jax.algorithms.meta.learner import Embedded, Learner, Seen
from tl_jax.algorithms.meta.logistic import linear_probe, logistic
from tl_jax.algorithms.meta.maml import maml
from tl_jax.algorithms.meta.matching import matching
from tl_jax.algorithms.meta.metaoptnet import metaoptnet
from tl_jax.algorithms.meta.nearest import neighbours, simpleshot
from tl_jax.algorithms.meta.prototypical import prototypical
from tl_jax.algorithms.meta.r2d2 import r2d2
from tl_jax.algorithms.meta.relation import relation, relation_error
from tl_jax.algorithms.meta.sampled import RESIDENT, TASK, sampled
from tl_jax.algorithms.meta.setfit import setfit
from tl_jax.algorithms.meta.tasks import over_tasks

__all__ = [
    "RESIDENT",
    "TASK",
    "Embedded",
    "Head",
    "Inner",
    "Learner",
    "Seen",
    "adapt",
    "baseline",
    "episodic",
    "inner_rates",
    "learned",
    "linear_probe",
    "logistic",
    "maml",
    "matching",
    "metaoptnet",
    "neighbours",
    "on_model",
    "over_tasks",
    "predicting",
    "prototypical",
    "query_loss",
    "r2d2",
    "relation",
    "relation_error",
    "sampled",
    "setfit",
    "simpleshot",
]
