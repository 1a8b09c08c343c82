"""Features of two domains brought together in closed form.

`method(source [N D], target [M D], ...) -> Alignment`, whose `source` and `target` map
rows of either domain into a shared space; the classes put a classifier on top.
"""

from tl_jax.estimators.subspace.augmentation import augmentation
from tl_jax.estimators.subspace.coral import coral
from tl_jax.estimators.subspace.faces import (
    CORAL,
    TCA,
    FeatureAugmentation,
    LinearOT,
    SubspaceAlignment,
)
from tl_jax.estimators.subspace.linear_ot import linear_ot
from tl_jax.estimators.subspace.maps import Alignment
from tl_jax.estimators.subspace.principal import (
    consistent_dimension,
    subspace_alignment,
)
from tl_jax.estimators.subspace.tca import tca

__all__ = [
    "CORAL",
    "TCA",
    "Alignment",
    "FeatureAugmentation",
    "LinearOT",
    "SubspaceAlignment",
    "augmentation",
    "consistent_dimension",
    "coral",
    "linear_ot",
    "subspace_alignment",
    "tca",
]
