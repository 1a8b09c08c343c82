"""What the tests of loading a BERT's folder share: a tensor's name, equal trees."""

import jax
import numpy as np

QUERY = "encoder.layer.0.attention.self.query.weight"


def equal(a, b) -> bool:
    """True if two trees have the same structure and values."""
    same = jax.tree.map(lambda x, y: np.array_equal(x, y), a, b)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(jax.tree.leaves(same))
