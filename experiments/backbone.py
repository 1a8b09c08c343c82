"""The pretrained model in the form that a task and its inputs need."""

from dataclasses import replace
from typing import Any, get_args

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from tl_jax import pretrained
from tl_jax.distribute import Layout
from tl_jax.models import prepared
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.preprocess import Preprocess
from tl_jax.pretrained.shapes import PREFIX
from tl_jax.transfer import full, resize_positions
from tl_jax.tree import no_match, one_of
from tl_jax.types import Pretrained

OVER = {"tokens": "tokens", "span": "tokens"}
"""Task -> what its head reads, where that is not the features of the whole."""
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
CHOICES = {"rules": get_args(Rules), "form": get_args(Form)}
"""Fields of `config.model` that are options of the same name -> their values."""


def load_base(config: ConfigDict, layout: Layout) -> Pretrained:
    """The weights that `config.model` names, their own head left out.

    A model of pictures takes them as bytes and normalises them on the device.
    """
    spec = config.model.spec
    if spec.startswith(PREFIX):
        raise ValueError(
            f"config.model.spec: {spec!r} has shapes and no weights; it serves "
            "--dry_run alone"
        )
    base = pretrained.load(spec, **options_of(config, layout))
    return base if base.preprocess is None else pictured(base, config.data.size)


def options_of(config: ConfigDict, layout: Layout) -> dict[str, Any]:
    """What `config.model` asks of the loading; `NoMatch` for an unknown choice."""
    model = config.model
    if model.dtype not in DTYPES:
        raise no_match("config.model.dtype", model.dtype, DTYPES)
    options = {name: model[name] for name in CHOICES if model.get(name)}
    for name, value in options.items():
        one_of(f"config.model.{name}", value, CHOICES[name])
    if config.task in OVER:
        options["over"] = OVER[config.task]
    if model.features:
        options["features"] = model.features
    if model.architecture:
        options["architecture"] = model.architecture
    if model.dropout >= 0:
        names = ("rate", "attention_rate", "head_rate")
        options |= dict.fromkeys(names, model.dropout)
    if config.mesh.batch_norm == "replica" and layout.batch_parts > 1:
        options["norm_groups"] = layout.batch_parts
    if model.remat:
        options["remat"] = True
    return {"head": "drop", "dtype": DTYPES[model.dtype]} | options


def pictured(base: Pretrained, size: int) -> Pretrained:
    """The model behind its pipeline, at another size of pictures where one is given."""
    preprocess = base.preprocess
    if size:
        preprocess = at_size(preprocess, size)
        base = _with_positions(base, preprocess.size)
    model = prepared(base.model, preprocess)
    return base._replace(model=model, preprocess=preprocess)


def at_size(preprocess: Preprocess, size: int) -> Preprocess:
    """The pipeline for squares of another size: resize and crop in proportion.

    One that crops nothing resizes to the square, or cuts it from the short edge.
    """
    square, resize, crop = (size, size), preprocess.resize, preprocess.crop
    factors = [size / edge for edge in crop or preprocess.size]
    if isinstance(resize, int):
        resize, crop = max(round(resize * min(factors)), size), square
    elif crop is None:
        resize = square
    elif resize is not None:
        both = zip(resize, factors, strict=True)
        resize, crop = tuple(max(round(n * f), size) for n, f in both), square
    else:
        crop = square
    return replace(preprocess, size=square, resize=resize, crop=crop)


def _with_positions(base: Pretrained, size: tuple[int, int]) -> Pretrained:
    """A vision transformer with its table of positions interpolated to a size."""
    embed = base.params.get("embed", {})
    if "positions" not in embed or "patches" not in embed:
        return base
    patch = embed["patches"]["kernel"].shape[:2]
    if size[0] % patch[0] or size[1] % patch[1]:
        raise ValueError(
            f"config.data.size is {size[0]}, expected a multiple of the model's "
            f"patches, {patch[0]}x{patch[1]}"
        )
    grid = size[0] // patch[0], size[1] // patch[1]

    def resized(params: Any) -> Any:
        return resize_positions(grid)(jax.random.key(0), full(params, {})).params

    table = base.params["embed"]["positions"]["embedding"]
    if isinstance(table, jax.ShapeDtypeStruct):  # of a dry run
        return base._replace(params=jax.eval_shape(resized, base.params))
    return base._replace(params=resized(base.params))
