"""Pseudo-labels: the target's own sure predictions as labels."""

from tl_jax.algorithms.adaptation.seen import Found, Seen, Side, Term
from tl_jax.algorithms.adaptation.views import logits_of, positive, share, target
from tl_jax.losses.consistency import believed, line, pseudo_label_loss
from tl_jax.types import Array, Metrics


def pseudo_labels(
    strength: float = 1.0,
    threshold: float = 0.95,
    *,
    begin: float = 0.0,
    end: float = 0.0,
) -> Term:
    """Cross entropy with what the model says of the target, where it is sure.

    strength a(p) 1/B sum_i 1(max_c p_ic >= threshold) -log p_i,argmax   (Lee, 2013)

    of the same logits, divided by the whole batch. a is 0 up to the share `begin` of
    the run and rises to 1 at `end`, as the paper's; by itself it is 1. The paper
    believes all predictions, threshold 0. TLlib takes the labels from a weaker view:
    that is `fixmatch`. Raises ValueError for a negative strength, a threshold outside
    0..1, or a rise that ends before it begins.
    """
    positive("pseudo_labels", strength=strength)
    share("pseudo_labels", threshold=threshold)
    line(0.0, begin, end)

    def value(seen: Seen) -> Found:
        side = target(seen, "pseudo_labels")
        logits = logits_of(side.outputs, "pseudo_labels")
        now = strength * line(seen.progress, begin, end)
        loss = side.mean(pseudo_label_loss(logits, logits, threshold))
        return Found(now * loss, metrics=told(side, logits, threshold))

    return Term(value)


def told(side: Side, logits: Array, threshold: float | Array) -> Metrics:
    """What is logged: the share of believed rows, and the mean confidence."""
    _, mask, confidence = believed(logits, threshold)
    return {"believed": side.mean(mask), "confidence": side.mean(confidence)}
