"""Entropy of the target's predictions."""

from tl_jax.algorithms.adaptation.seen import Seen, Term
from tl_jax.algorithms.adaptation.views import logits_of, positive, target
from tl_jax.losses.adversarial import entropy
from tl_jax.types import Array


def entropy_minimisation(strength: float = 0.1) -> Term:
    """strength mean_i H(p(x_i)) over the target (Grandvalet and Bengio, 2005).

    The conditional entropy of class given input, which VADA (Shu et al., 2018)
    minimises as well. Sure predictions of one class alone have it least:
    `information_maximisation` has a second part against that. TLlib's `entropy` adds
    1e-5 inside the logarithm. Raises ValueError for a negative strength.
    """
    positive("entropy_minimisation", strength=strength)

    def value(seen: Seen) -> Array:
        side = target(seen, "entropy_minimisation")
        logits = logits_of(side.outputs, "entropy_minimisation")
        return strength * side.mean(entropy(logits))

    return Term(value)
