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
from tl_jax.estimators.subspace.kernel_cca import Correlated, kernel_cca
from tl_jax.estimators.subspace.linear_ot import linear_ot
from tl_jax.estimators.subspace.maps import Alignment
from tl_jax.estimators.subspace.paired_face import KernelCCA
from tl_jax.estimators.subspace.principal import (
    consistent_dimension,
    subspace_alignment,
)
from tl_jax.estimators.subspace.tca import tca

__all__ = [
    "CORAL",
    "TCA",
    "Alignment",
    "Correlated",
    "FeatureAugmentation",
    "KernelCCA",
    "LinearOT",
    "SubspaceAlignment",
    "augmentation",
    "consistent_dimension",
    "coral",
    "kernel_cca",
    "linear_ot",
    "subspace_alignment",
    "tca",
]
