"""A tokenizer of whole words, for models that start without weights."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tl_jax.pretrained.tokenizer import Tokenizer

SPECIAL = ("<pad>", "</s>", "<unk>")
"""Ids 0, 1 and 2, as T5 has them."""


def word_tokenizer(texts: Iterable[str], most: int, length: int = 512) -> Tokenizer:
    """Each of the `most` commonest words a token, cut at spaces and at punctuation.

    A text ends with `</s>`; words beyond are `<unk>`. Decoded, tokens stand apart by
    single spaces. Raises ValueError for fewer tokens than the special ones.
    """
    from tokenizers import Tokenizer as Encoder
    from tokenizers import models, pre_tokenizers, processors

    if most <= len(SPECIAL):
        raise ValueError(f"{most} tokens, expected more than {len(SPECIAL)}")
    split = pre_tokenizers.Whitespace()
    counts = Counter(w for text in texts for w, _ in split.pre_tokenize_str(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    words = [*SPECIAL, *ranked[: most - len(SPECIAL)]]
    table = {word: i for i, word in enumerate(words)}
    encoder: Any = Encoder(models.WordLevel(table, unk_token="<unk>"))
    encoder.add_special_tokens(list(SPECIAL))
    encoder.pre_tokenizer = split
    encoder.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return Tokenizer(encoder, pad=0, cls=None, sep=1, mask=None, length=length)
