"""The pretrained model in the form that a task and its inputs need."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.settings import names
from experiments.sources import read_examples
from experiments.tasks import TEXTS
from experiments.writing_task import end_of
from tl_jax import pretrained
from tl_jax.distribute import Layout
from tl_jax.models import answering, prepared, writing
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.preprocess import Preprocess
from tl_jax.pretrained.shapes import abstract
from tl_jax.pretrained.shapes import options_of as known_options
from tl_jax.pretrained.spec import SHAPE, resolve
from tl_jax.pretrained.tokenizer import Tokenizer, load_tokenizer
from tl_jax.pretrained.word_tokenizer import word_tokenizer
from tl_jax.transfer import full, resize_positions
from tl_jax.tree import NoMatch, nearest, no_match, one_of
from tl_jax.types import Pretrained

RATES = ("rate", "attention_rate", "head_rate")
"""Options that `config.model.dropout` sets, those of them that a family has."""
CHOICES = {"rules": get_args(Rules), "form": get_args(Form)}
"""Options of derivatives and convolutions, as `config.model` names them -> values."""
OWN = (
    *("features", "stem", "patch", "channels", "filters", "multiplier", "remat"),
    *("down", "inputs", "widths", "activation", "std", "vocabulary"),
    *CHOICES,
)
"""Fields of `config.model` that are options of the same name; 0 or empty: not set."""
FIELDS = {
    **{name: f"config.model.{name}" for name in OWN},
    **dict.fromkeys(RATES, "config.model.dropout"),
    "size": "config.data.size",
    "norm_groups": "config.mesh.batch_norm",
    "over": "config.task",
}
"""Option -> the field of a config that sets it."""
OVER = {"tokens": "tokens", "span": "tokens"} | dict.fromkeys(TEXTS, "vocabulary")
"""Task -> what its head reads, where that is not the features of the whole."""
WRITES = {"seq2seq": writing, "causal": answering}
"""Task -> what makes its model write where it is shown no answer."""
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def load_base(config: ConfigDict, layout: Layout) -> Pretrained:
    """The weights that `config.model` names, their own head left out unless it says so.

    A model of pictures takes them as bytes and normalises them on the device.
    """
    spec = config.model.spec
    if spec.startswith(SHAPE):
        base = _unweighted(config, layout)
    else:
        base = pretrained.load(spec, **options_of(config, layout))
    if config.task in TEXTS:
        return _written(base, config)
    if base.preprocess is None:
        return base
    return pictured(_normalised(base, config), config.data.size)


def _written(base: Pretrained, config: ConfigDict) -> Pretrained:
    """The model that writes an answer where it is shown none.

    Raises ValueError where it can't, or has no tokenizer that ends texts.
    """
    spec, own = config.model.spec, config.writing
    if base.tokenizer is None:
        raise ValueError(f"config.model.spec: {spec!r} has no tokenizer")
    try:
        ends = dict(end=end_of(base.tokenizer), pad=base.tokenizer.pad)
        search = dict(beams=own.beams, penalty=own.penalty)
        model = WRITES[config.task](
            base.model, config.data.target_length, **ends, **search
        )
    except ValueError as error:
        raise ValueError(
            f"config.task is {config.task!r}, but config.model.spec, {spec!r}, can't "
            f"write: {error}"
        ) from None
    return base._replace(model=model)


def _unweighted(config: ConfigDict, layout: Layout) -> Pretrained:
    """A model that has no weights, for strategies that ask for none."""
    spec, tables = config.model.spec, config.strategies
    fresh = [n for n, table in tables.items() if not table.get("pretrained", True)]
    for name in names(config):
        if name not in fresh:
            raise ValueError(
                f"config.run: {name!r} starts from pretrained weights, which "
                f"config.model.spec, {spec!r}, has not; strategies with "
                f"`pretrained: False` start without: {', '.join(fresh) or 'none here'}"
            )
    options = options_of(config, layout)
    try:
        base = abstract(spec, **options)
    except NoMatch as error:  # of an option, which has the field's name
        raise NoMatch(f"config.model.{error}") from None
    except ValueError as error:
        raise ValueError(f"config.model.spec, {spec!r}: {error}") from None
    if base.preprocess is not None or base.source["positions"] is None:
        return base
    place = config.model.get("tokenizer", "")
    if not place:
        raise ValueError(
            f"config.model.tokenizer is empty, but config.model.spec, {spec!r}, reads "
            "texts and has no tokenizer: name an asset, a folder or a hub's id with one"
        )
    words = base.params["embed"]["tokens"]["embedding"].shape[0]
    if place == "words":
        return base._replace(tokenizer=_of_words(config, words, base))
    found = load_tokenizer(resolve(place), base.source["positions"], words)
    return base._replace(tokenizer=found)


def _of_words(config: ConfigDict, most: int, base: Pretrained) -> Tokenizer:
    """The commonest words of all the source's texts, as many as the model has."""
    inputs = read_examples(config).inputs.values()
    texts = [text for own in inputs if isinstance(own, list) for text in own]
    return word_tokenizer(texts, most, base.source["positions"])


def options_of(config: ConfigDict, layout: Layout) -> dict[str, Any]:
    """What the config asks of the model that it names, of the options that it has.

    Raises `NoMatch` for an unknown dtype or spec, ValueError for a field that the model
    has no option for; both name the field.
    """
    model = config.model
    if model.dtype not in DTYPES:
        raise no_match("config.model.dtype", model.dtype, DTYPES)
    for name, known in CHOICES.items():
        if model.get(name):
            one_of(f"config.model.{name}", model[name], known)
    named = {"architecture": model.architecture} if model.architecture else {}
    try:
        what, known = known_options(model.spec, **named)
    except NoMatch as error:
        raise NoMatch(f"config.model.{error}") from None
    options = {name: model[name] for name in OWN if model.get(name)}
    if "widths" in options:
        options["widths"] = tuple(options["widths"])
    if config.task in OVER:
        options["over"] = OVER[config.task]
    if not model.dropout < 1:
        raise ValueError(
            f"config.model.dropout is {model.dropout}, expected a share below 1; below "
            "0 it is that of the weights"
        )
    if model.dropout >= 0:
        rates = [name for name in RATES if name in known]
        options |= dict.fromkeys(rates or RATES[:1], model.dropout)
    if config.mesh.batch_norm == "replica":
        options["norm_groups"] = layout.batch_parts
    if config.data.size and "size" in known:
        options["size"] = config.data.size
    for name in options:
        if name not in known:
            raise _unknown(config, name, what, known)
    head = "keep" if config.task in TEXTS else model.get("head", "drop")
    return {"head": head, "dtype": DTYPES[model.dtype]} | named | options


def _unknown(
    config: ConfigDict, option: str, what: str, known: Sequence[str]
) -> ValueError:
    """The error for a field that sets an option which a model has not."""
    field, value = FIELDS[option], config
    for part in field.split(".")[1:]:
        value = value[part]
    own = {FIELDS[name] for name in known if name in FIELDS}
    close, spec = ", ".join(nearest(field, own, len(own))), config.model.spec
    named = repr(spec) if what == spec else f"{spec!r} ({what})"
    return ValueError(
        f"{field} is {value!r}, but config.model.spec, {named}, has no option "
        f"{option!r}; its own, the nearest first: {close}"
    )


def _normalised(base: Pretrained, config: ConfigDict) -> Pretrained:
    """The pipeline with the config's mean and std, which are of colours in 0..1.

    Raises ValueError for what is not a number, or one a channel.
    """
    own, unit = base.preprocess, 1 / 255
    found = {}
    for name in ("mean", "std"):
        given = tuple(config.data.get(name, ()))
        real = all(isinstance(n, int | float) and 0 <= n <= 1 for n in given)
        if not real or len(given) not in (0, 1, own.channels):
            raise ValueError(
                f"config.data.{name} is {given}, expected a number from 0 to 1, or "
                f"{own.channels} of them"
            )
        if name == "std" and 0 in given:
            raise ValueError(f"config.data.std is {given}, expected more than 0")
        if len(given) == 1:
            given *= own.channels
        held = tuple(n * unit / own.scale for n in getattr(own, name))
        found[name] = given or held
    if not (config.data.get("mean") or config.data.get("std")):
        return base
    return base._replace(preprocess=replace(own, scale=unit, **found))


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
    table = embed["positions"]["embedding"]
    if grid[0] == grid[1] and len(table) == 1 + grid[0] * grid[1]:
        return base

    before = tuple(n // p for n, p in zip(base.preprocess.size, patch, strict=True))
    old = before if before[0] * before[1] == len(table) - 1 else None
    start = base.model.init

    def resized(params: Any) -> Any:
        resize = resize_positions(grid, old=old)
        return resize(jax.random.key(0), full(params, {})).params

    def init(key: Any) -> Any:  # what starts from scratch has that size, too
        params, stats = start(key)
        return resized(params), stats

    base = base._replace(model=base.model._replace(init=init))
    if isinstance(table, jax.ShapeDtypeStruct):  # there are no weights
        return base._replace(params=jax.eval_shape(resized, base.params))
    return base._replace(params=resized(base.params))
