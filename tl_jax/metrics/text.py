"""What texts score against references, by the libraries that own these metrics."""

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

NAMES = ("rouge1", "rouge2", "rougeL")


def rouge(
    texts: Sequence[str], references: Sequence[str], name: str = "rougeL"
) -> float:
    """The mean F of a ROUGE over texts, in [0, 1] (Lin, 2004), by `rouge-score`.

    rouge1 and rouge2 count shared words and pairs of words, rougeL the longest common
    sequence; words are lower-cased letters and digits of English, not stemmed.

    Raises ValueError for another name and for lists that differ in length,
    ModuleNotFoundError, saying what to install, without the library.
    """
    if name not in NAMES:
        raise ValueError(f"rouge: name is {name!r}, known: {', '.join(NAMES)}")
    _check("rouge", texts, references)
    pairs = zip(texts, references, strict=True)
    return sum(_rouge(name, *pair) for pair in pairs) / len(texts)


@lru_cache(maxsize=1 << 16)
def _rouge(name: str, text: str, reference: str) -> float:
    """Of one text; kept, since a bootstrap asks for the same ones again and again."""
    return _scorer(name).score(reference, text)[name].fmeasure


@lru_cache
def _scorer(name: str) -> Any:
    return _library("rouge_score.rouge_scorer", "rouge-score").RougeScorer([name])


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of a corpus, in [0, 100] (Papineni et al., 2002), by `sacrebleu`.

    (Post, 2018.) One reference a text; its default tokens (13a) and smoothing (exp).
    Raises as `rouge` does.
    """
    _check("bleu", texts, references)
    found = _library("sacrebleu", "sacrebleu")
    return found.corpus_bleu(list(texts), [list(references)], force=True).score


def exact(texts: Sequence[str], references: Sequence[str]) -> float:
    """The share of texts equal to their reference, but for white space at the ends."""
    _check("exact", texts, references)
    pairs = zip(texts, references, strict=True)
    return sum(a.strip() == b.strip() for a, b in pairs) / len(texts)


def _check(what: str, texts: Sequence[str], references: Sequence[str]) -> None:
    if not len(texts) or len(texts) != len(references):
        raise ValueError(
            f"{what}: {len(texts)} texts and {len(references)} references, expected as "
            "many of both, and some"
        )


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{package} is not installed, which scores texts: "
            f"`pip install {package}`, or the extra `text` of tl_jax",
            name=error.name,
        ) from None
