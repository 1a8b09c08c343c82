"""FixMatch: labels from a weak view, learnt on a strong one."""

import jax

from tl_jax.algorithms.adaptation.pseudo_labels import told
from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.algorithms.adaptation.views import (
    logits_of,
    playing,
    positive,
    share,
    target,
    view,
)
from tl_jax.losses.consistency import pseudo_label_loss
from tl_jax.types import Array, Augment


def fixmatch(
    strong: Augment,
    *,
    weak: Augment | None = None,
    strength: float = 1.0,
    threshold: float = 0.95,
    player: str = "model",
) -> Term:
    """Cross entropy of a strong view with a weak one's sure label (Sohn et al., 2020).

    strength 1/B sum_i 1(max q_i >= threshold) H(argmax q_i, p(strong(x_i)))

    q_i is the prediction for weak(x_i), without a gradient; without `weak` it is the
    step's own forward pass, which costs nothing more. Divided by the whole batch.
    Views are `(key, stream) -> stream`: `data.augment` for pictures,
    `adaptation.views` for features and texts. Each view passes the model by itself,
    as in TLlib, normalised by its own statistics, which are not kept; the authors'
    program passes all in one batch. TLlib's examples also learn strong views of
    labelled rows. Raises ValueError for a negative strength or a threshold outside
    0..1, `NoMatch` for a missing player.
    """
    positive("fixmatch", strength=strength)
    share("fixmatch", threshold=threshold)

    def value(seen: Seen) -> Found:
        side = target(seen, "fixmatch")
        reference = weakly(seen, weak, "fixmatch", player)
        logits = view(seen, strong, "strong", player).logits
        loss = side.mean(pseudo_label_loss(logits, reference, threshold))
        return Found(strength * loss, metrics=told(side, reference, threshold))

    return Term(value, check=playing(player))


def weakly(seen: Seen, weak: Augment | None, term: str, player: str) -> Array:
    """[B C] logits of the target's weak view, without a gradient."""
    if weak is None:
        return jax.lax.stop_gradient(logits_of(target(seen, term).outputs, term))
    params = jax.lax.stop_gradient(seen.params[player])
    return logits_of(view(seen, weak, "weak", player, params), term)
