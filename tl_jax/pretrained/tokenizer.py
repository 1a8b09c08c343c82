"""The tokenizer that travels with the weights."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tl_jax.pretrained.errors import Damaged
from tl_jax.pretrained.files import read_json

log = logging.getLogger(__name__)
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "chat_template.jinja",
)
"""What belongs to a tokenizer in a model's folder."""
SPECIAL = {
    "pad": ("[PAD]", "<pad>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "bos": ("<s>", "<|begin_of_text|>"),
    "eos": ("</s>", "<|endoftext|>"),
}
TEMPLATE = "chat_template.jinja"
UNBOUNDED = 10**6


class Tokenizer(NamedTuple):
    """A `tokenizers.Tokenizer` that neither cuts nor pads, and what it doesn't say."""

    encoder: Any
    """`encoder.encode(text).ids`; see the library `tokenizers`."""
    pad: int
    cls: int | None
    sep: int | None
    mask: int | None
    length: int
    """The most tokens that the model was made for."""
    bos: int | None = None
    """What a text begins with."""
    eos: int | None = None
    """What a causal model ends an answer with."""
    template: str | None = None
    """Jinja's text of a chat, as transformers has it (`data.chat`)."""

    def to_str(self) -> str:
        """The text of its tokenizer.json, from which the data layer makes its own."""
        return self.encoder.to_str()


def load_tokenizer(folder: Path, positions: int, vocabulary: int) -> Tokenizer | None:
    """The tokenizer of a folder: tokenizer.json, else WordPiece from vocab.txt.

    The cutting and padding stored in the file are switched off: whoever makes batches
    decides. None where the folder has no tokenizer. Raises `Damaged` for a file that
    does not parse.
    """
    settings = _settings(folder)
    if (folder / "tokenizer.json").is_file():
        encoder = _from_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").is_file():
        encoder = _wordpiece(folder / "vocab.txt", settings)
    else:
        log.info("%s has neither tokenizer.json nor vocab.txt: no tokenizer", folder)
        return None
    encoder.no_truncation()
    encoder.no_padding()
    if (size := encoder.get_vocab_size()) > vocabulary:
        log.warning("the tokenizer has %d tokens, the model %d", size, vocabulary)
    ids = {name: _special(name, settings, encoder) for name in SPECIAL}
    lengths = [positions, settings.get("model_max_length"), settings.get("sentences")]
    length = min(n for n in lengths if isinstance(n, int) and 0 < n < UNBOUNDED)
    template = _template(folder, settings)
    pad = next((i for i in (ids["pad"], ids["eos"]) if i is not None), 0)
    return Tokenizer(encoder, **ids | {"pad": pad}, length=length, template=template)


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The chat template: a file of its own, or in the settings."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    found = settings.get("chat_template")
    return found if isinstance(found, str) else None


def save_tokenizer(made: Path, own: Tokenizer) -> None:
    """Write the files of a tokenizer that came without, as transformers reads them."""
    own.encoder.save(str(made / "tokenizer.json"))
    names = {
        n: own.encoder.id_to_token(getattr(own, n))
        for n in ("bos", "eos", "pad")
        if getattr(own, n) is not None
    }
    settings = {f"{name}_token": word for name, word in names.items()}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {"chat_template": own.template} if own.template else {}
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (made / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _settings(folder: Path) -> dict[str, Any]:
    """Both settings files, with the sentence length as `sentences`."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= read_json(folder / name)
    if (folder / "sentence_bert_config.json").is_file():
        cut = read_json(folder / "sentence_bert_config.json")
        settings["sentences"] = cut.get("max_seq_length")
    return settings


def _special(name: str, settings: Mapping[str, Any], encoder: Any) -> int | None:
    text = settings.get(f"{name}_token")
    text = text.get("content") if isinstance(text, dict) else text
    for candidate in (text, *SPECIAL[name]):
        if isinstance(candidate, str):
            found = encoder.token_to_id(candidate)
            if found is not None:
                return found
    return None


def _from_json(path: Path) -> Any:
    from tokenizers import Tokenizer as Encoder

    try:
        return Encoder.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise Damaged(f"{path} is no tokenizer: {error}") from None


def _wordpiece(path: Path, settings: Mapping[str, Any]) -> Any:
    """BERT's tokenizer as its paper's code has it (Devlin et al., 2019)."""
    from tokenizers import Tokenizer as Encoder
    from tokenizers import models, normalizers, pre_tokenizers, processors

    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise Damaged(f"{path} is no UTF-8 text: {error}") from None
    lines = lines[:-1] if lines and not lines[-1] else lines
    vocabulary = {word.rstrip("\r"): i for i, word in enumerate(lines)}
    if absent := [t for t in ("[UNK]", "[CLS]", "[SEP]") if t not in vocabulary]:
        raise Damaged(f"{path} has no {' and no '.join(absent)}")
    encoder = Encoder(models.WordPiece(vocabulary, unk_token="[UNK]"))
    encoder.add_special_tokens([s[0] for s in SPECIAL.values() if s[0] in vocabulary])
    encoder.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    encoder.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[SEP]", "[CLS]")]
    encoder.post_processor = processors.BertProcessing(*ends)
    return encoder
