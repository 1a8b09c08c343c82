"""Meta-learning: learners of tasks, and how they are learned."""

from tl_jax.algorithms.meta.episodic import episodic, predicting, query_loss
from tl_jax.algorithms.meta.inner import Inner, adapt, inner_rates
from tl_jax.algorithms.meta.learner import Embedded, Learner, Seen
from tl_jax.algorithms.meta.maml import maml
from tl_jax.algorithms.meta.sampled import RESIDENT, TASK, sampled
from tl_jax.algorithms.meta.tasks import over_tasks

__all__ = [
    "RESIDENT",
    "TASK",
    "Embedded",
    "Inner",
    "Learner",
    "Seen",
    "adapt",
    "episodic",
    "inner_rates",
    "maml",
    "over_tasks",
    "predicting",
    "query_loss",
    "sampled",
]
