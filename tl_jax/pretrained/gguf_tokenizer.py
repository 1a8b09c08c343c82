"""The tokenizer in a GGUF file: pairs of bytes, merged (Sennrich et al., 2016)."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tl_jax.pretrained.errors import Damaged
from tl_jax.pretrained.gguf_header import front
from tl_jax.pretrained.tokenizer import Tokenizer

KEY = "tokenizer.ggml."
CONTROL, OWN = 3, 4
"""Types of tokens that a text is cut at: those without a text, and a user's."""
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
log = logging.getLogger(__name__)


def tokenizer_of(file: Path, positions: int, vocabulary: int) -> Tokenizer | None:
    """The tokenizer of a file, with its chat template and special tokens.

    None, with a warning, for a kind or a way to cut words that is not known. Raises
    `Damaged` for metadata that contradicts itself.
    """
    fields = {k: v for k, v in front(file).fields.items() if k.startswith("tokenizer.")}
    kind, cut = fields.get(f"{KEY}model"), fields.get(f"{KEY}pre", "default")
    if kind != "gpt2" or cut not in CUTS:
        log.warning(
            "%s: tokenizer %r that cuts words as %r is not read; known: gpt2, %s",
            file, kind, cut, ", ".join(CUTS),
        )  # fmt: skip
        return None
    words = fields.get(f"{KEY}tokens", [])
    if len(words) != vocabulary or len(set(words)) != len(words):
        raise Damaged(f"{file} has {len(set(words))} tokens, expected {vocabulary}")
    encoder = _encoder(fields, words, cut, file)
    ids = {
        "pad": fields.get(f"{KEY}padding_token_id"),
        "bos": fields.get(f"{KEY}bos_token_id"),
        "eos": fields.get(f"{KEY}eos_token_id"),
    }
    if fields.get(f"{KEY}add_bos_token", cut == "llama-bpe") and ids["bos"] is not None:
        _begin_with(encoder, words[ids["bos"]], ids["bos"])
    ids["pad"] = next((i for i in (ids["pad"], ids["eos"]) if i is not None), 0)
    template = fields.get("tokenizer.chat_template")
    return Tokenizer(
        encoder,
        **ids,
        cls=None,
        sep=None,
        mask=None,
        length=positions,
        template=template,
    )


def _encoder(fields: Mapping[str, Any], words: list, cut: str, file: Path) -> Any:
    from tokenizers import AddedToken, decoders, models
    from tokenizers import Tokenizer as Encoder

    merges = [tuple(pair.split(" ")) for pair in fields.get(f"{KEY}merges", [])]
    if not merges or any(len(pair) != 2 for pair in merges):
        raise Damaged(f"{file}: {KEY}merges are no pairs of tokens")
    numbered = {word: i for i, word in enumerate(words)}
    # What is no product of merges can only be found whole
    model = models.BPE(numbered, merges, ignore_merges=cut == "llama-bpe")
    encoder = Encoder(model)
    encoder.pre_tokenizer, encoder.decoder = CUTS[cut](), decoders.ByteLevel()
    kinds = fields.get(f"{KEY}token_type", [])
    added = [
        AddedToken(word, special=kind == CONTROL, normalized=False)
        for word, kind in zip(words, kinds, strict=False)
        if kind in (CONTROL, OWN)
    ]
    encoder.add_tokens(added)
    return encoder


def _begin_with(encoder: Any, word: str, number: int) -> None:
    """Put a token before every text."""
    from tokenizers import processors

    encoder.post_processor = processors.TemplateProcessing(
        single=f"{word} $A",
        pair=f"{word} $A {word}:1 $B:1",
        special_tokens=[(word, number)],
    )


def _plain() -> Any:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _digits() -> Any:
    """Each digit by itself, as SmolLM has it."""
    from tokenizers import pre_tokenizers

    single = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([single, _plain()])


def _llama3() -> Any:
    from tokenizers import Regex, pre_tokenizers

    cut = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([cut, whole])


CUTS: Mapping[str, Callable[[], Any]] = {
    "default": _plain,
    "gpt-2": _plain,
    "smollm": _digits,
    "llama-bpe": _llama3,
}
"""`tokenizer.ggml.pre` -> what cuts a text into words."""
