"""Texts to token ids, once: truncated, labelled, kept on disk by content.

Labels follow the tokens: a word's label stands on its first piece, a character span
becomes a token span. The tokenizer travels with the weights (`tokenizer.json`).
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tl_jax.data.ragged import Ragged, ragged

FORMAT = 1
"""Of the files in the cache; part of their names."""
IGNORED = -100
"""The label of a piece that no loss reads."""


class Tokens(NamedTuple):
    """Token columns of N rows, with labels that follow them."""

    columns: dict[str, Ragged]
    """`tokens`, and `types` where the inputs are pairs."""
    labels: Any = None
    """`Ragged` ids of words, or spans [N 2] of tokens, both ends inside; or None."""
    source: np.ndarray | None = None
    """[N] which example a row is a window of; None where each row is its own."""
    places: Ragged | None = None
    """Per token (start, end) characters of the context; -1 outside of it."""
    cut: int = 0
    """Texts that did not fit; with labels: labels (or answers) lost by that."""

    @property
    def lengths(self) -> np.ndarray:
        """[N] tokens a row."""
        return self.columns["tokens"].lengths


def open_tokenizer(tokenizer: Any) -> tuple[Any, int]:
    """A `tokenizers.Tokenizer` of its own and the id of padding.

    From an object or the path of a `tokenizer.json`. Padding and truncation are off:
    both belong to the caller here. The id is what the file says, else that of `[PAD]`
    or `<pad>`, else 0.
    """
    from tokenizers import Tokenizer

    if isinstance(tokenizer, (str, Path)):
        path = Path(tokenizer)
        if not path.is_file():
            raise FileNotFoundError(f"there is no tokenizer file {path}")
        text = path.read_text(encoding="utf-8")
    elif hasattr(tokenizer, "to_str"):
        text = tokenizer.to_str()
    elif hasattr(getattr(tokenizer, "backend_tokenizer", None), "to_str"):
        text = tokenizer.backend_tokenizer.to_str()
    else:
        kind = type(tokenizer).__name__
        raise TypeError(f"expected a tokenizer or a path of its JSON, found {kind}")
    own = Tokenizer.from_str(text)
    ids = [(own.padding or {}).get("pad_id")]
    ids += [own.token_to_id(name) for name in ("[PAD]", "<pad>", "<|pad|>")]
    own.no_padding()
    own.no_truncation()
    return own, next((i for i in ids if i is not None), 0)


def tokenise(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    length: int = 128,
    cache: Path | None = None,
) -> Tokens:
    """Ids of texts, or of (text, pair) rows, cut to `length` tokens.

    Pairs are cut where they are longest, and get `types`. With a `cache` folder the
    result is kept there by the content of tokenizer, texts and settings.
    """
    _texts("texts", texts)
    if pairs is not None:
        _texts("pairs", pairs, len(texts))
    own, padding = open_tokenizer(tokenizer)
    own.enable_truncation(length)
    inputs = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))

    def make() -> Tokens:
        found = own.encode_batch(inputs)
        cut = sum(bool(row.overflowing) for row in found)
        return Tokens(_columns(found, padding, pairs is not None), cut=cut)

    return _kept(cache, own, ["plain", padding, length, inputs], make)


def tokenise_words(
    tokenizer: Any,
    words: Sequence[Sequence[str]],
    labels: Sequence[Any] | None = None,
    *,
    length: int = 128,
    cache: Path | None = None,
) -> Tokens:
    """Ids of texts given as words, with each word's label on its first piece.

    All other pieces get -100. `cut` counts the labels of words that did not fit.
    """
    own, padding = open_tokenizer(tokenizer)
    own.enable_truncation(length)
    tags = None if labels is None else [[int(tag) for tag in row] for row in labels]
    for row, (text, ids) in enumerate(zip(words, tags or words, strict=True)):
        if len(text) != len(ids):
            raise ValueError(f"row {row}: {len(text)} words, {len(ids)} labels")

    def make() -> Tokens:
        found = own.encode_batch([list(row) for row in words], is_pretokenized=True)
        columns = _columns(found, padding)
        if tags is None:
            return Tokens(columns, cut=sum(bool(row.overflowing) for row in found))
        aligned = [
            align(row.word_ids, ids) for row, ids in zip(found, tags, strict=True)
        ]
        cut = sum(map(len, tags)) - sum(_labelled(row.word_ids) for row in found)
        return Tokens(columns, ragged(aligned, IGNORED), cut=cut)

    settings = ["words", padding, length, [list(row) for row in words], tags]
    return _kept(cache, own, settings, make)


def align(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """Per piece the label of its word if it is the word's first, else -100."""
    before, found = None, []
    for word in word_ids:
        fresh = word is not None and word != before
        found.append(labels[word] if fresh else IGNORED)
        before = word
    return found


def _labelled(word_ids: Sequence[int | None]) -> int:
    return len({word for word in word_ids if word is not None})


def tokenise_spans(
    tokenizer: Any,
    questions: Sequence[str],
    contexts: Sequence[str],
    spans: Any = None,
    *,
    length: int = 384,
    stride: int | None = None,
    cache: Path | None = None,
) -> Tokens:
    """Ids of (question, context) rows with the answer as a token span.

    `spans` [N 2] are characters of the context, the end exclusive. Only the context
    is cut. With a `stride` a long context becomes several windows that share `stride`
    tokens; `source` says whose a window is. A window without the whole answer gets
    the span (0, 0), the class token; `cut` counts answers that no window holds.
    """
    _texts("questions", questions)
    _texts("contexts", contexts, len(questions))
    own, padding = open_tokenizer(tokenizer)
    own.enable_truncation(length, stride=stride or 0, strategy="only_second")
    inputs = list(zip(questions, contexts, strict=True))
    wanted = None if spans is None else np.asarray(spans).tolist()

    def make() -> Tokens:
        rows, source = [], []
        for number, row in enumerate(_encode_pairs(own, inputs, length)):
            windows = [row, *row.overflowing] if stride is not None else [row]
            rows += windows
            source += [number] * len(windows)
        places = [_places(row) for row in rows]
        columns = _columns(rows, padding, True)
        kept = Tokens(columns, None, np.asarray(source), ragged(places, -1))
        if wanted is None:
            return kept
        pairs = zip(places, source, strict=True)
        found = [token_span(place, *wanted[number]) for place, number in pairs]
        held = {s for s, span in zip(source, found, strict=True) if span != (0, 0)}
        labels = np.asarray(found, np.int32)
        return kept._replace(labels=labels, cut=len(inputs) - len(held))

    return _kept(cache, own, ["spans", padding, length, stride, inputs, wanted], make)


def _encode_pairs(tokenizer: Any, inputs: list, length: int) -> list:
    try:
        return tokenizer.encode_batch(inputs)
    except Exception as error:  # the tokenizer's own errors have no other type
        for number, pair in enumerate(inputs):
            try:
                tokenizer.encode(*pair)
            except Exception:
                raise ValueError(
                    f"row {number}: the question {pair[0][:40]!r} leaves no room for "
                    f"its context in {length} tokens ({error})"
                ) from None
        raise


def _places(row: Any) -> list[tuple[int, int]]:
    inside = [s == 1 for s in row.sequence_ids]
    return [p if i else (-1, -1) for p, i in zip(row.offsets, inside, strict=True)]


def token_span(
    places: Sequence[tuple[int, int]], start: int, end: int
) -> tuple[int, int]:
    """First and last token of the characters `start:end`; (0, 0) if not all there."""
    held = [i for i, (a, b) in enumerate(places) if a >= 0 and a < end and b > start]
    if not held or places[held[0]][0] > start or places[held[-1]][1] < end:
        return 0, 0
    return held[0], held[-1]


def _texts(name: str, texts: Sequence[str], rows: int | None = None) -> None:
    if not len(texts):
        raise ValueError(f"{name}: there is nothing to tokenise")
    if rows is not None and len(texts) != rows:
        raise ValueError(f"{name}: {len(texts)} rows, expected {rows}")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ValueError(f"{name}: row {row} is {kind}, expected text")


def _columns(
    rows: Sequence[Any], padding: int, pairs: bool = False
) -> dict[str, Ragged]:
    columns = {"tokens": ragged([row.ids for row in rows], padding)}
    if pairs:
        columns["types"] = ragged([row.type_ids for row in rows])
    return columns


def _kept(
    cache: Path | None, tokenizer: Any, settings: list, make: Callable[[], Tokens]
) -> Tokens:
    if cache is None:
        return make()
    digest = hashlib.sha256(tokenizer.to_str().encode())
    digest.update(json.dumps([FORMAT, *settings]).encode())
    path = Path(cache) / f"tokens-{digest.hexdigest()[:32]}.npz"
    try:
        return read(path)
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        path.unlink(missing_ok=True)  # half a file of another making
    tokens = make()
    write(path, tokens)
    return tokens


def write(path: Path, tokens: Tokens) -> None:
    """Save tokens as .npz: whole or not at all."""
    arrays: dict[str, Any] = {"cut": np.asarray(tokens.cut)}
    named = {f"columns/{name}": column for name, column in tokens.columns.items()}
    named |= {"labels": tokens.labels, "places": tokens.places, "source": tokens.source}
    for name, value in named.items():
        if isinstance(value, Ragged):
            parts = value._asdict().items()
            arrays |= {f"{name}:{part}": np.asarray(own) for part, own in parts}
        elif value is not None:
            arrays[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            np.savez(file, **arrays)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


def read(path: Path) -> Tokens:
    """Tokens that `write` saved; nothing in the file is run."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}

    def value(name: str) -> Any:
        if f"{name}:flat" not in arrays:
            return arrays.get(name)
        flat, offsets = arrays[f"{name}:flat"], arrays[f"{name}:offsets"]
        return Ragged(flat, offsets, int(arrays[f"{name}:fill"]))

    names = [
        n[8:-5] for n in arrays if n.startswith("columns/") and n.endswith(":flat")
    ]
    columns = {name: value(f"columns/{name}") for name in names}
    rest = (value(name) for name in ("labels", "source", "places"))
    return Tokens(columns, *rest, cut=int(arrays["cut"]))
