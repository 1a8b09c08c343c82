"""A model behind its preprocessing sees what it would have been given."""

import jax
import numpy as np

from tl_jax.models import mlp, prepared


def test_inputs_are_prepared_within_the_program():
    model = mlp(12, (4,), field="image", classes=3)
    params, stats = model.init(jax.random.key(0))

    def halve(inputs):
        return {**inputs, "image": inputs["image"].astype(np.float32) / 2}

    image = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    ready = prepared(model, halve)
    found, _ = jax.jit(ready.apply)(params, stats, {"image": image})
    given = {"image": image.astype(np.float32) / 2}
    expected, _ = jax.jit(model.apply)(params, stats, given)
    np.testing.assert_array_equal(found.logits, expected.logits)
    assert (ready.width, ready.init) == (model.width, model.init)
