"""What transforms may ask for by an argument's name, beside what a config says."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from ml_collections import ConfigDict

from tl_jax.pretrained.files import DESCRIBED
from tl_jax.pretrained.gguf_tokenizer import tokenizer_of
from tl_jax.pretrained.spec import SHAPE, resolve
from tl_jax.pretrained.tokenizer import UNBOUNDED, load_tokenizer


def given_by(config: ConfigDict) -> Mapping[str, Any]:
    """Argument -> value, for transforms that have such an argument.

    `tokenize`: a function from a text to ids, special tokens left out, by the
    pretrained tokenizer, which is read at the first text.
    """
    return {"tokenize": _tokenize(config)}


def _tokenize(config: ConfigDict) -> Callable[[str], Sequence[int]]:
    @cache
    def encoder() -> Any:
        named = config.model.get("tokenizer", "")
        field = "config.model.tokenizer" if named else "config.model.spec"
        spec = named or config.model.spec
        found = None
        if not spec.startswith(SHAPE):
            place = resolve(spec)
            own = tokenizer_of if place.suffix in DESCRIBED else load_tokenizer
            # Positions and words only tell how long and how large it should be.
            found = own(place, 1, UNBOUNDED)
        if found is None:
            raise ValueError(
                f"{field}, {spec!r}, has no tokenizer, expected one: a text of a plan "
                "is to be cut into tokens"
            )
        return found.encoder

    return lambda text: encoder().encode(text, add_special_tokens=False).ids
