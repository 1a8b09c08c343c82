"""A second head that disagrees on the target as far as it may on the source."""

from functools import partial

from tl_jax.algorithms.adaptation.critics import check_reader, on_both
from tl_jax.algorithms.adaptation.dann import reversal
from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.losses.adversarial import disparity, margin, reverse


def mdd(
    strength: float = 1.0,
    *,
    gamma: float = 4.0,
    high: float = 0.1,
    steepness: float | None = 10.0,
    adversary: str = "adversary",
    main: str = "model",
) -> Term:
    """Margin disparity discrepancy (Zhang et al., 2019).

    strength * (gamma mean_s -log q_y + mean_t -log(1 - q_y)), y = argmax of the model

    q are the shares of the player `adversary`, a classifier of the features [B D] of
    `main` into the same classes, behind a reversal that grows to `high`: it learns to
    agree with the model on the source, gamma times, and to disagree on the target,
    while the features learn to forbid that. The model's head gets no gradient from it.

    TLlib: the negative of `ClassificationMarginDisparityDiscrepancy`, which its script
    subtracts, behind a reversal that grows to 0.1 with steepness 1 over 1,000 steps;
    its log(1 - q) is clipped. Weights are of the source and of the target apart.

    Raises `NoMatch` without the adversary, ValueError for one that does not fit.
    """

    def value(seen: Seen) -> Found:
        turned = reversal(seen.progress, steepness, high)
        source, target = seen.source, seen.target
        ours, theirs, moved = on_both(
            seen,
            adversary,
            reverse(source.outputs.features, turned),
            reverse(target.outputs.features, turned),
        )
        near = source.mean(disparity(source.outputs.logits, ours))
        far = target.mean(margin(target.outputs.logits, theirs))
        metrics = {"strength": turned, "source": near, "target": far}
        found = strength * (gamma * near + far)
        return Found(found, None, {adversary: moved}, metrics)

    return Term(value, check=partial(check_reader, name=adversary, main=main))
