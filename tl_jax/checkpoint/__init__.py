"""Save and resume: atomic, asynchronous, verified; strict comparison of trees."""

from tl_jax.checkpoint.compare import TreeMismatch, compare
from tl_jax.checkpoint.files import write_atomic
from tl_jax.checkpoint.store import CheckpointError, Checkpoints, Restored, open

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "Restored",
    "TreeMismatch",
    "compare",
    "open",
    "write_atomic",
]
