"""Classification and contrastive semantic alignment, for few labelled target rows."""

from tl_jax.algorithms.adaptation.seen import Seen, Term
from tl_jax.algorithms.adaptation.streams import LABELLED
from tl_jax.algorithms.adaptation.views import positive
from tl_jax.losses.alignment import semantic_alignment
from tl_jax.types import Array


def ccsa(strength: float = 1.0, margin: float = 1.0) -> Term:
    """Source and target features of a class together, of two apart (Motiian, 2017).

    strength times `losses.alignment.semantic_alignment` of the source and the target's
    labelled rows, which must be opened. The paper's loss is (1 - g) classification +
    g alignment; ADAPT's gamma is 1 - g. The paper learns to classify by the source
    alone, where labelled target rows join here. Raises ValueError for a negative number
    or a batch without both streams.
    """
    positive("ccsa", strength=strength, margin=margin)

    def value(seen: Seen) -> Array:
        if seen.source is None or seen.labelled is None:
            raise ValueError(
                f"ccsa: compares a labelled source with stream {LABELLED!r}; open it"
            )
        source, other = seen.source, seen.labelled
        return strength * semantic_alignment(
            source.outputs.features,
            source.stream["labels"],
            other.outputs.features,
            other.stream["labels"],
            margin=margin,
            source_weight=source.weight,
            target_weight=other.weight,
        )

    return Term(value)
