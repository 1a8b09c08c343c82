"""Shapes of a step's batch, where no data are read: what a dry run compiles for."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.algorithms import Recipe
from experiments.episode_settings import rows_of, shape_of
from experiments.episodes import family_of
from experiments.shift.settings import shift_of
from experiments.shift.strategy import Shift
from experiments.tasks import EPISODIC, Task
from tl_jax.algorithms.adaptation import LABELLED, SOURCE, TARGET, unlabelled
from tl_jax.types import Pretrained

Shape = tuple[int, ...]
PLAIN = Shift()


def abstract_batch(
    config: ConfigDict,
    base: Pretrained,
    task: Task,
    classes: int,
    recipe: Recipe,
    shift: Shift = PLAIN,
) -> dict[str, Any]:
    """Shapes of one step's batch, leaves [1 B ...], or [1 K B ...] of K episodes.

    The longest one, of texts, pictures or numbers. Labels of rows are those of the
    task with `classes`; `shift` says which streams of two domains there are.
    """
    if task.name == "fewshot_regression":
        return _generated(config)
    inputs = inputs_of(config, base, task)
    if shift_of(config).features:  # what a network over them reads
        inputs = {"features": ((base.source["features"],), jnp.float32)}
    labels = task.labels(classes, tokens_of(config))
    own = labels.shape, labels.dtype
    if task.name not in EPISODIC and recipe.batches != "train":
        return _domains(config, inputs, own, recipe, shift)
    if task.name not in EPISODIC:
        rows = config.batch_size * shift.source
        if shift.opened:  # as many as a batch of the target beside them
            rows += config.shift.batch_size or config.batch_size
        return {"train": _stream((1, rows), inputs, own)}
    if recipe.batches == "train":
        return {"train": _stream((1, rows_of(config)), inputs, own)}
    shape = shape_of(config, "train_")
    sides = {"support": shape["shots"], "query": shape["queries"]}
    return {
        side: _stream((1, config.batch_size, shape["ways"] * count), inputs, own)
        for side, count in sides.items()
    }


def _generated(config: ConfigDict) -> dict[str, Any]:
    """Shapes of episodes that are made, not read."""
    draw, tasks = family_of(config, "train_"), (config.batch_size,)
    numbers = {
        "index": jax.ShapeDtypeStruct(tasks, np.int32),
        "weight": jax.ShapeDtypeStruct(tasks, np.float32),
    }
    drawn = jax.eval_shape(lambda which: draw({}, which), numbers)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), drawn)


def _domains(
    config: ConfigDict, inputs: Mapping, own: tuple, recipe: Recipe, shift: Shift
) -> dict[str, Any]:
    """Shapes of the streams of two domains that a step reads."""
    size = config.shift.batch_size or config.batch_size
    if config.shift.sources:
        inputs = {**inputs, "domain": ((), jnp.int32)}
    target = _stream((1, size), inputs, own)
    streams = {} if recipe.batches == SOURCE else {TARGET: unlabelled(target)}
    if recipe.batches == TARGET:
        return streams
    if shift.source:
        streams[SOURCE] = _stream((1, config.batch_size), inputs, own)
    return streams | ({LABELLED: target} if shift.opened else {})


def inputs_of(
    config: ConfigDict, base: Pretrained, task: Task
) -> Mapping[str, tuple[Shape, Any]]:
    """Input -> shape and dtype of one row."""
    if base.preprocess is not None:
        side, own = config.data.size, base.preprocess
        size = (side, side) if side else own.size
        return {"image": ((*size, own.channels), jnp.uint8)}
    if not base.params:  # nothing is left to compute
        return {"features": ((base.model.width,), jnp.float32)}
    if base.source.get("positions", 0) is None:  # neither pictures nor texts
        return {"features": ((config.model.inputs or 1,), jnp.float32)}
    kinds = {"tokens": jnp.int32, "mask": jnp.bool_}
    if task.name == "span":  # a pair: question and context
        kinds["types"] = jnp.int32
    found = {name: ((tokens_of(config),), kind) for name, kind in kinds.items()}
    if task.name == "causal" and config.data.pack:
        found["segments"] = found["tokens"]
    if task.name == "seq2seq":
        found["decoder_tokens"] = ((config.data.target_length,), jnp.int32)
    return found


def tokens_of(config: ConfigDict) -> int:
    """Tokens of the longest row of texts; an answer stands in its question's row."""
    own = config.data
    if config.task != "causal":
        return own.length
    return own.pack or own.length + own.target_length


def _stream(
    front: Shape, inputs: Mapping[str, tuple[Shape, Any]], labels: tuple[Shape, Any]
) -> dict[str, Any]:
    def shaped(shape: Shape, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*front, *shape), np.dtype(dtype))

    return {
        "inputs": {name: shaped(*own) for name, own in inputs.items()},
        "labels": shaped(*labels),
        "weight": shaped((), jnp.float32),
        "index": shaped((), jnp.int32),
    }
