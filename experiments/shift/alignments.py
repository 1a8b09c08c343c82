"""Maps of two domains' features that configs know, by name."""

from collections.abc import Callable, Mapping
from typing import Any

from tl_jax.estimators import subspace

ALIGNMENTS: Mapping[str, Callable[..., Any]] = {
    "augmentation": subspace.augmentation,
    "coral": subspace.coral,
    "linear_ot": subspace.linear_ot,
    "subspace_alignment": subspace.subspace_alignment,
    "tca": subspace.tca,
}
"""Name -> `(source [N D], target [M D], **arguments) -> (map, map)`, of features
[. D] of each domain to [. E]."""
SUPERVISED = {"augmentation"}
"""Those that are of no use without labels of the target."""
