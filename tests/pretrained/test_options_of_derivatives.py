"""Derivative rules and forms of convolutions reach every family's model."""

import jax
import jax.numpy as jnp
import pytest

from tl_jax.pretrained import files
from tl_jax.pretrained.loading import recipe_of
from tl_jax.tree import NoMatch

TOKENS = {"tokens": jax.ShapeDtypeStruct((2, 4), jnp.int32)}
PLACES = ("bert/bert_model", "bert/distilbert_sequence", "llama/llama_words")
PICTURED = ("vision/vit_image", "vision/resnet_basic", "vision/mobilenet")
LITE = {"model_type": "efficientnet_lite", "number": 0}


def configs(golden):
    """Name -> (config, inputs)."""
    read = {name: files.read_config(golden / name) for name in PLACES + PICTURED}
    found = {name: (read[name], TOKENS) for name in PLACES}
    for name, config in [(n, read[n]) for n in PICTURED] + [("lite", LITE)]:
        size = config.get("image_size", 32)
        image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
        found[name] = config, {"image": image}
    return found


def lowered(config, inputs, **options):
    """The program of a jvp in half precision, from shapes alone."""
    recipe = recipe_of(config, dtype=jnp.bfloat16, **options)
    params, stats = jax.eval_shape(recipe.model.init, jax.random.key(0))

    def moved(params, stats, inputs):
        def features(params):
            return recipe.model.apply(params, stats, inputs)[0].features

        return jax.jvp(features, (params,), (params,))

    return jax.jit(moved).lower(params, stats, inputs), recipe.options


@pytest.mark.parametrize("name", [*PLACES, *PICTURED, "lite"])
def test_auto_rules_know_forward_mode(name, golden):
    config, inputs = configs(golden)[name]
    _, options = lowered(config, inputs, rules="auto")
    assert options["rules"] == "auto"
    with pytest.raises(TypeError, match="forward-mode"):
        lowered(config, inputs)
    with pytest.raises(NoMatch, match="rules 'atuo' matches nothing; nearest: auto"):
        recipe_of(config, rules="atuo")
