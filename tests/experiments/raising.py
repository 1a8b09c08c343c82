"""`experiments.main` with a bug that shows in one process: the first argument's."""

import sys

import jax

from experiments import evaluate, main

WHERE, SCORE = int(sys.argv.pop(1)), evaluate.score


def score(*args):
    """Fail in the middle of a run."""
    if jax.process_index() == WHERE:
        raise ZeroDivisionError("a bug")
    return SCORE(*args)


evaluate.score = score
sys.exit(main.main(sys.argv))
