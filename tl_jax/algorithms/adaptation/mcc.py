"""Terms of the target's logits in a batch: class confusion, rank, information."""

from collections.abc import Callable

from tl_jax.algorithms.adaptation.seen import Seen, Term
from tl_jax.algorithms.adaptation.views import logits_of, positive, target
from tl_jax.losses.confusion import class_confusion, information_loss, nuclear_norm
from tl_jax.types import Array


def mcc(strength: float = 1.0, temperature: float = 2.5) -> Term:
    """Minimum class confusion of the target (Jin et al., 2020).

    strength times `losses.confusion.class_confusion`. TLlib's examples take strength 1
    and temperature 2 to 3; the paper 1 and 2.5. Raises ValueError for a negative
    strength or a temperature that is not above 0.
    """
    positive("mcc", strength=strength)
    if not temperature > 0:
        raise ValueError(f"mcc: temperature is {temperature}, expected above 0")
    return _of_batch(
        "mcc", strength, lambda logits, w: class_confusion(logits, w, temperature)
    )


def bnm(strength: float = 1.0) -> Term:
    """Batch nuclear-norm maximisation of the target (Cui et al., 2020).

    strength times `losses.confusion.nuclear_norm`. Raises ValueError for a negative
    strength.
    """
    positive("bnm", strength=strength)
    return _of_batch("bnm", strength, nuclear_norm)


def information_maximisation(strength: float = 0.1) -> Term:
    """Sure predictions of all classes: mean_i H(p_i) - H(mean_i p_i) of the target.

    strength times `losses.confusion.information_loss` (Krause et al., 2010; Shi and
    Sha, 2012). Raises ValueError for a negative strength.
    """
    name = "information_maximisation"
    positive(name, strength=strength)
    return _of_batch(name, strength, information_loss)


def _of_batch(
    name: str, strength: float, loss: Callable[[Array, Array], Array]
) -> Term:
    def value(seen: Seen) -> Array:
        side = target(seen, name)
        return strength * loss(logits_of(side.outputs, name), side.weight)

    return Term(value)
