"""From examples to columns that a loader serves: tokens of texts, bytes of pictures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.causal_task import encode_causal
from experiments.sources import column, columns_of
from experiments.writing_task import end_of
from tl_jax import assets, data
from tl_jax.data.loader import BUCKETS
from tl_jax.types import Pretrained


class Encoded(NamedTuple):
    """Columns of N rows, with what belongs to them."""

    columns: Mapping[str, Any]
    labels: Any
    """[N ...]; those that follow the tokens, where they do."""
    buckets: tuple[int, ...] = BUCKETS
    """Lengths that rows of tokens are padded to."""
    places: Any = None
    """Characters of each token, for answers that are spans of a text."""
    cut: int = 0
    """Texts that did not fit; with labels of their own: labels lost by that."""
    follows: bool = False
    """True if labels stand at tokens."""
    taught: Callable[[np.ndarray], tuple[Mapping[str, Any], Any]] | None = None
    """(rows) -> (columns, labels) that train, where these are not those that are
    scored: of other columns, or several examples in a row."""

    def training(self, rows: np.ndarray) -> tuple[Mapping[str, Any], Any, np.ndarray]:
        """(columns, labels, rows of them) that steps read for some examples."""
        if self.taught is None:
            return self.columns, self.labels, rows
        columns, labels = self.taught(rows)
        return columns, labels, np.arange(labels.rows)


def cache_folder() -> Path:
    """Where tokens, pictures, assets and compiled programs are kept between runs."""
    return assets.cache_dir()


def encode(examples: data.Examples, base: Pretrained, config: ConfigDict) -> Encoded:
    """Columns for the model, kept on disk between runs.

    Raises ValueError where the examples are not of the kind that the model reads.
    """
    if base.preprocess is not None:
        return _pictures(examples, base, config)
    if base.tokenizer is None and "features" in examples.inputs:
        return Encoded({"features": examples.inputs["features"]}, examples.labels)
    if base.tokenizer is None:
        raise ValueError(f"config.model.spec: {config.model.spec!r} has no tokenizer")
    if "image" in examples.inputs:
        raise ValueError(
            f"config.data.source: {examples.name!r} holds pictures, but "
            f"config.model.spec, {config.model.spec!r}, reads texts"
        )
    return _tokens(examples, base, config)


def _pictures(examples: data.Examples, base: Pretrained, config: ConfigDict) -> Encoded:
    """Pictures as the model's pipeline resizes and crops them, in bytes."""
    if "image" not in examples.inputs:
        found = ", ".join(examples.inputs)
        raise ValueError(
            f"config.data.source: {examples.name!r} has {found} but no pictures, which "
            f"config.model.spec, {config.model.spec!r}, reads"
        )
    own = base.preprocess
    found = data.fitted(
        examples.inputs["image"],
        own.fit,
        (*own.size, own.channels),
        cache=cache_folder() / "pictures",
        token=repr(own),
    )
    return Encoded({"image": found}, examples.labels)


def _tokens(examples: data.Examples, base: Pretrained, config: ConfigDict) -> Encoded:
    length, most = config.data.length, base.tokenizer.length
    if not 8 <= length <= most:
        raise ValueError(
            f"config.data.length is {length}, expected 8 to {most}, "
            f"the most that {config.model.spec!r} takes"
        )
    encoder, inputs = base.tokenizer.encoder, examples.inputs
    shared = {"length": length, "cache": cache_folder() / "tokens"}
    if config.task == "tokens":
        made = data.tokenise_words(encoder, inputs["words"], examples.labels, **shared)
    elif config.task == "span":
        texts = inputs["question"], inputs["context"]
        made = data.tokenise_spans(encoder, *texts, examples.labels, **shared)
    elif config.task == "causal":
        return encode_causal(examples, base, config)
    elif config.task == "seq2seq":
        return _answered(examples, base, config, shared)
    else:
        texts = column(examples, columns_of(config)[0])
        made = data.tokenise(encoder, texts, **shared)
    follows = made.labels is not None
    return Encoded(
        made.columns,
        made.labels if follows else examples.labels,
        tuple(config.data.buckets) or buckets_up_to(length),
        made.places,
        made.cut,
        follows,
    )


def _answered(
    examples: data.Examples, base: Pretrained, config: ConfigDict, shared: dict
) -> Encoded:
    """Texts, and the texts that answer them where these are known."""
    tokenizer, inputs = base.tokenizer, examples.inputs
    name = "text" if "target" in inputs else columns_of(config)[0]
    made = data.tokenise(tokenizer.encoder, column(examples, name), **shared)
    length = config.data.length
    buckets = tuple(config.data.buckets) or buckets_up_to(length)
    if "target" not in inputs:
        return Encoded(made.columns, None, buckets, cut=made.cut)
    shared = shared | {"length": config.data.target_length}
    answers = data.tokenise(tokenizer.encoder, inputs["target"], **shared)
    decoder, labels = data.teacher_forced(
        answers.columns["tokens"],
        config.data.target_length,
        first=tokenizer.pad,  # T5's decoder begins with it
        end=end_of(tokenizer),
        pad=tokenizer.pad,
    )
    columns = made.columns | {"decoder_tokens": decoder}
    return Encoded(columns, labels, buckets, cut=made.cut + answers.cut)


def buckets_up_to(length: int) -> tuple[int, ...]:
    """The default lengths below `length`, and `length` itself."""
    return (*(size for size in BUCKETS if size < length), length)


def raw_picture(encoded: Encoded, row: int) -> np.ndarray | None:
    """A row's picture as the model gets it, uint8 [H W C]; None of a text."""
    image = encoded.columns.get("image")
    return None if image is None else np.asarray(image[row])
