"""`experiments.main` where one process, the first argument's, is slow to part."""

import sys
import time

import jax

from experiments import main

WHERE, FAIL = int(sys.argv.pop(1)), main.fail


def fail(error, code):
    """Take a while to tell that the run was stopped."""
    if code == main.STOPPED and jax.process_index() == WHERE:
        time.sleep(3)
    return FAIL(error, code)


main.fail = fail
sys.exit(main.main(sys.argv))
