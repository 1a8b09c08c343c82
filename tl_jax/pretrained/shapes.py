"""Models by name without weights: random ones to train, shapes alone for a dry run."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.models.conv4 import Down, conv4
from tl_jax.models.frozen import frozen_features
from tl_jax.models.inverted import LITE, efficientnet_lite, mobilenet_v2
from tl_jax.models.mlp import mlp
from tl_jax.models.resnet import DEPTHS, Stem, resnet
from tl_jax.models.squeezenet import squeezenet
from tl_jax.models.vit import Features, Shape, vit
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.pretrained import loading
from tl_jax.pretrained.inverted import SIZES, lite_pipeline
from tl_jax.pretrained.preprocess import Preprocess
from tl_jax.pretrained.spec import SHAPE
from tl_jax.pretrained.text_shapes import TEXT_SHAPES
from tl_jax.pretrained.vision import IMAGENET, checked, pipeline
from tl_jax.tree import no_match
from tl_jax.types import Model, Pretrained

WHOLE = ("vocabulary", "size", "patch", "channels", "filters", "inputs")
"""Options that are whole numbers from 1."""


class Made(NamedTuple):
    """What a name and its options make."""

    model: Model
    preprocess: Preprocess | None = None
    positions: int | None = None
    """The longest input, in tokens; None for a model that reads none."""


Maker = Callable[..., Any]
"""`(**options)` -> something with the fields of `Made`; its keywords are the options
that the name has."""


def _vit(
    shape: Shape,
    *,
    size: int = 224,
    patch: int = 16,
    channels: int = 3,
    features: Features = "cls",
    rate: float = 0.0,
    attention_rate: float = 0.0,
    head_rate: float = 0.0,
    remat: bool = False,
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Made:
    """The picture warped to a square, as ViTs are evaluated."""
    rates = dict(rate=rate, attention_rate=attention_rate, head_rate=head_rate)
    sizes = dict(size=size, patch=patch, channels=channels)
    how = dict(features=features, remat=remat, rules=rules, dtype=dtype)
    return Made(vit(shape, **sizes, **rates, **how), pipeline((size, size), channels))


def _resnet(
    depth: int,
    *,
    size: int | None = None,
    stem: Stem = "imagenet",
    channels: int = 3,
    rate: float = 0.0,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Made:
    """With the stem for "cifar", nothing is cut from a picture."""
    shared = dict(norm_groups=norm_groups, form=form, rules=rules)
    how = checked(rate=rate, momentum=momentum, **shared)
    model = resnet(depth, stem=stem, channels=channels, **how, dtype=dtype)
    if stem == "imagenet":
        return Made(model, _middle(size or 224, channels))
    side = size or 32
    return Made(model, pipeline((side, side), channels, fixed=False, **IMAGENET))


def _conv4(
    *,
    size: int = 84,
    channels: int = 3,
    filters: int = 64,
    rate: float = 0.0,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
    down: Down = "pool",
    dtype: jnp.dtype = jnp.float32,
) -> Made:
    shared = dict(norm_groups=norm_groups, form=form, rules=rules)
    how = checked(rate=rate, momentum=momentum, **shared)
    sizes = dict(size=size, channels=channels, filters=filters, down=down)
    return Made(conv4(**sizes, **how, dtype=dtype), pipeline((size, size), channels))


def _mobilenet(
    *,
    size: int = 224,
    channels: int = 3,
    multiplier: float = 1.0,
    rate: float = 0.2,
    path_rate: float = 0.0,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Made:
    if not 0 < multiplier < float("inf"):
        raise ValueError(f"multiplier={multiplier!r}, expected a number above 0")
    shared = dict(norm_groups=norm_groups, form=form, rules=rules)
    how = checked(rate=rate, path_rate=path_rate, momentum=momentum, **shared)
    model = mobilenet_v2(multiplier=multiplier, channels=channels, **how, dtype=dtype)
    return Made(model, _middle(size, channels))


def _lite(
    number: int,
    *,
    size: int | None = None,
    channels: int = 3,
    rate: float | None = None,
    path_rate: float = 0.0,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Made:
    shared = dict(norm_groups=norm_groups, form=form, rules=rules)
    how = checked(path_rate=path_rate, momentum=momentum, **shared)
    if rate is not None:
        how |= checked(rate=rate, **shared)
    model = efficientnet_lite(number, channels=channels, **how, dtype=dtype)
    return Made(model, lite_pipeline(size or SIZES[number], channels))


def _squeezenet(
    version: str,
    *,
    size: int = 224,
    channels: int = 3,
    rate: float = 0.5,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Made:
    how = checked(rate=rate, form=form, rules=rules)
    model = squeezenet(version, channels=channels, **how, dtype=dtype)
    return Made(model, _middle(size, channels))


def _mlp(
    *,
    inputs: int = 1,
    widths: Sequence[int] = (128, 128),
    activation: str = "relu",
    batch_norms: bool = False,
    std: float | None = None,
    rate: float = 0.0,
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Made:
    """Of numbers, not pictures or texts: inputs `features` [B inputs]."""
    how = dict(activation=activation, batch_norms=batch_norms, std=std, rate=rate)
    how["rules"] = rules
    return Made(mlp(inputs, tuple(widths), **how, dtype=dtype))


def _linear(
    *, inputs: int = 1, rate: float = 0.0, dtype: jnp.dtype = jnp.float32
) -> Made:
    """Nothing but the inputs `features` [B inputs], for a head alone.

    Nothing is dropped, and nothing computed in `dtype`: there is but the head.
    """
    del rate, dtype
    return Made(frozen_features(inputs))


def _middle(size: int, channels: int) -> Preprocess:
    """The middle 7/8 of the short edge, as convolutional networks are evaluated."""
    fields = dict(resize=round(size * 256 / 224), crop=(size, size), fixed=False)
    return pipeline((size, size), channels, **fields | IMAGENET)


SHAPES: Mapping[str, Maker] = {
    **TEXT_SHAPES,
    "vit-tiny": partial(_vit, "ti"),
    "vit-small": partial(_vit, "s"),
    "vit-base": partial(_vit, "b"),
    "vit-large": partial(_vit, "l"),
    **{f"resnet{depth}": partial(_resnet, depth) for depth in DEPTHS},
    "conv4": _conv4,
    "linear": _linear,
    "mlp": _mlp,
    "mobilenet-v2": _mobilenet,
    **{f"efficientnet-lite{number}": partial(_lite, number) for number in LITE},
    "squeezenet1_0": partial(_squeezenet, "1.0"),
    "squeezenet1_1": partial(_squeezenet, "1.1"),
}
"""Name -> what makes it: models of texts, and those of images of `tl_jax.models`, which
say where they come from."""


def options_of(
    spec: str, *, architecture: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """(what is named, the options that it takes beside `head`) of any spec.

    `spec` is `shape:NAME` of `SHAPES`, or what `load` takes. No tensor is read. Raises
    `NoMatch` for an unknown name, else as `load` does.
    """
    if not spec.startswith(SHAPE):
        family, known = loading.options_of(spec, architecture=architecture)
    elif architecture is None:
        family, known = spec, loading.keywords(_maker(spec))
    else:
        raise loading.superfluous(spec, architecture)
    return family, tuple(name for name in known if name != "head")


def abstract(
    spec: str, *, architecture: str | None = None, head: str = "keep", **options: Any
) -> Pretrained:
    """A model with shapes instead of weights; no array is made, no tensor read.

    Its `model.init(key)` gives random weights. `spec` is `shape:NAME` of `SHAPES`,
    which has no head of its own, or what `load` takes; options are those of
    `options_of`. Raises `NoMatch` for an unknown name, ValueError for options.
    """
    if spec.startswith(SHAPE):
        _, known = options_of(spec, architecture=architecture)
        loading.check_options(spec, options, known)
        for name in WHOLE:
            value = options.get(name, 1)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}={value!r}, expected a whole number >= 1")
        made = _maker(spec)(**options)
    else:
        made = loading.outline(spec, architecture=architecture, head=head, **options)
    params, stats = jax.eval_shape(made.model.init, jax.random.key(0))
    source = {"spec": spec, "hash": "", "positions": made.positions}
    return Pretrained(made.model, params, stats, made.preprocess, None, source)


def _maker(spec: str) -> Maker:
    name = spec.removeprefix(SHAPE)
    if name not in SHAPES:
        raise no_match("spec", spec, [f"{SHAPE}{known}" for known in SHAPES])
    return SHAPES[name]
