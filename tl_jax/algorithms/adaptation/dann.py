"""A critic tells domains apart, and the features learn to deceive it."""

from collections.abc import Mapping
from functools import partial

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.critics import check_reader, on_both
from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.losses.adversarial import domain_accuracy, domain_loss, ramp, reverse
from tl_jax.types import Array


def dann(
    strength: float = 1.0,
    *,
    steepness: float | None = 10.0,
    critic: str = "critic",
    main: str = "model",
) -> Term:
    """Domain-adversarial training (Ganin et al., 2016).

    strength * 1/2 (mean_s -log d(R(f)) + mean_t -log(1 - d(R(f))))

    R passes the features f and turns their gradient by -ramp(progress), where
    `ramp` goes from 0 to 1; without a `steepness` it is 1 from the start. So the critic
    d descends at full strength while the features' part grows. The player `critic`
    reads features [B D] of `main` and gives logits [B 1], or [B 2] with the source as
    class 1; it sees both domains in one batch.

    TLlib: the same loss and order of labels (`DomainAdversarialLoss`), with a
    steepness of 1 over 1,000 steps of any run, not clipped. pytorch-adapt's reversal is
    a constant. ADAPT adds the domains' means, twice what is here, and its strength
    multiplies what arrives at the encoder, not the critic's gradient. The authors'
    script for the moons has strength 12 in these terms, without a ramp. Metrics:
    `strength` of the reversal, `accuracy` of the critic: of a deceived one a half.

    Raises `NoMatch` without the critic, ValueError for one that does not fit.
    """

    def value(seen: Seen) -> Found:
        turned = reversal(seen.progress, steepness)
        source, target = seen.source, seen.target
        ours, theirs, moved = on_both(
            seen,
            critic,
            reverse(source.outputs.features, turned),
            reverse(target.outputs.features, turned),
        )
        sides = (ours, theirs, source.weight, target.weight)
        metrics: Mapping[str, Array] = {
            "strength": turned,
            "accuracy": domain_accuracy(*sides),
        }
        return Found(strength * domain_loss(*sides), None, {critic: moved}, metrics)

    check = partial(check_reader, name=critic, logits=(1, 2), main=main)
    return Term(value, check=check)


def reversal(progress: Array, steepness: float | None, high: float = 1.0) -> Array:
    """How much of a gradient is turned: a ramp up to `high`, or `high` at once."""
    if steepness is None:
        return jnp.float32(high)
    return ramp(progress, steepness, high=high)
