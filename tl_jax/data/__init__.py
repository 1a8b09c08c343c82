"""Sources, splits, tokenising and loading of data, with no branch on the algorithm."""

from tl_jax.data.catalogue import catalogue, load
from tl_jax.data.loader import Loader, evaluation, loader, ordered, prefetch
from tl_jax.data.ragged import Ragged, ragged
from tl_jax.data.readers import from_folder, from_questions, from_tagged, from_tfds
from tl_jax.data.sources import Examples, from_arrays, size, task
from tl_jax.data.splits import Splits, by_text, disjoint, few, groups_of, stratified
from tl_jax.data.tables import from_table
from tl_jax.data.tokenise import Tokens, tokenise, tokenise_spans, tokenise_words

__all__ = [
    "Examples",
    "Loader",
    "Ragged",
    "Splits",
    "Tokens",
    "by_text",
    "catalogue",
    "disjoint",
    "evaluation",
    "few",
    "from_arrays",
    "from_folder",
    "from_questions",
    "from_table",
    "from_tagged",
    "from_tfds",
    "groups_of",
    "load",
    "loader",
    "ordered",
    "prefetch",
    "ragged",
    "size",
    "stratified",
    "task",
    "tokenise",
    "tokenise_spans",
    "tokenise_words",
]
