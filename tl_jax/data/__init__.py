"""Sources, splits, tokenising and loading of data, with no branch on the algorithm."""

from tl_jax.data.catalogue import catalogue, load
from tl_jax.data.class_splits import by_class, class_disjoint
from tl_jax.data.few_shot import cifar_fs, class_folders, omniglot
from tl_jax.data.few_shot_pickles import mini_imagenet, tiered_imagenet
from tl_jax.data.fitting import fitted
from tl_jax.data.glyph_set import glyphs
from tl_jax.data.idx import from_idx, from_idx_folder, idx_pairs, read_idx
from tl_jax.data.image_folder import from_image_folder
from tl_jax.data.loader import Loader, evaluation, loader, ordered, prefetch
from tl_jax.data.meta_dataset import meta_dataset
from tl_jax.data.pictures import (
    PICTURES,
    Held,
    Kept,
    Pictures,
    colour,
    find_files,
    held,
    kept_in,
    named,
    pictures,
    read_picture,
)
from tl_jax.data.ragged import Ragged, ragged
from tl_jax.data.readers import from_folder, from_questions, from_tagged
from tl_jax.data.sources import Examples, from_arrays, size, task
from tl_jax.data.splits import Splits, by_text, disjoint, few, groups_of, stratified
from tl_jax.data.tables import from_table
from tl_jax.data.tfds import from_tfds
from tl_jax.data.tokenise import Tokens, tokenise, tokenise_spans, tokenise_words

__all__ = [
    "PICTURES",
    "Examples",
    "Held",
    "Kept",
    "Loader",
    "Pictures",
    "Ragged",
    "Splits",
    "Tokens",
    "by_class",
    "by_text",
    "catalogue",
    "cifar_fs",
    "class_disjoint",
    "class_folders",
    "colour",
    "disjoint",
    "evaluation",
    "few",
    "find_files",
    "fitted",
    "from_arrays",
    "from_folder",
    "from_idx",
    "from_idx_folder",
    "from_image_folder",
    "from_questions",
    "from_table",
    "from_tagged",
    "from_tfds",
    "glyphs",
    "groups_of",
    "held",
    "idx_pairs",
    "kept_in",
    "load",
    "loader",
    "meta_dataset",
    "mini_imagenet",
    "named",
    "omniglot",
    "ordered",
    "pictures",
    "prefetch",
    "ragged",
    "read_idx",
    "read_picture",
    "size",
    "stratified",
    "task",
    "tiered_imagenet",
    "tokenise",
    "tokenise_spans",
    "tokenise_words",
]
