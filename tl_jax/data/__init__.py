"""Sources, splits, tokenising and loading of data, with no branch on the algorithm."""

from tl_jax.data.amazon import amazon
from tl_jax.data.catalogue import catalogue, load
from tl_jax.data.class_splits import (
    by_class,
    class_disjoint,
    class_splits,
    rows_of_classes,
)
from tl_jax.data.columns import beside, between, joined
from tl_jax.data.episodes import (
    Episodes,
    episodes,
    evaluation_episodes,
    varied_episodes,
)
from tl_jax.data.few_shot import cifar_fs, class_folders, omniglot
from tl_jax.data.few_shot_pickles import mini_imagenet, tiered_imagenet
from tl_jax.data.fitting import fitted
from tl_jax.data.glyph_set import glyphs
from tl_jax.data.idx import from_idx, from_idx_folder, idx_pairs, read_idx
from tl_jax.data.image_folder import from_image_folder
from tl_jax.data.leaks import check_episodes
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
from tl_jax.data.readers import from_folder, from_pairs, from_questions, from_tagged
from tl_jax.data.resident import DeviceEpisodes, device_episodes, resident
from tl_jax.data.sources import Examples, from_arrays, size, task
from tl_jax.data.splits import Splits, by_text, disjoint, few, groups_of, stratified
from tl_jax.data.tables import from_table
from tl_jax.data.targets import teacher_forced
from tl_jax.data.task_families import (
    Family,
    gaussian_process,
    harmonic,
    linear,
    sinusoid,
)
from tl_jax.data.task_numbers import TaskNumbers, evaluation_numbers, task_numbers
from tl_jax.data.tfds import from_tfds
from tl_jax.data.tokenise import Tokens, tokenise, tokenise_spans, tokenise_words
from tl_jax.data.varied_resident import (
    DeviceVaried,
    varied_device_episodes,
    varied_resident,
)

__all__ = [
    "PICTURES",
    "DeviceEpisodes",
    "DeviceVaried",
    "Episodes",
    "Examples",
    "Family",
    "Held",
    "Kept",
    "Loader",
    "Pictures",
    "Ragged",
    "Splits",
    "TaskNumbers",
    "Tokens",
    "amazon",
    "beside",
    "between",
    "by_class",
    "by_text",
    "catalogue",
    "check_episodes",
    "cifar_fs",
    "class_disjoint",
    "class_folders",
    "class_splits",
    "colour",
    "device_episodes",
    "disjoint",
    "episodes",
    "evaluation",
    "evaluation_episodes",
    "evaluation_numbers",
    "few",
    "find_files",
    "fitted",
    "from_arrays",
    "from_folder",
    "from_idx",
    "from_idx_folder",
    "from_image_folder",
    "from_pairs",
    "from_questions",
    "from_table",
    "from_tagged",
    "from_tfds",
    "gaussian_process",
    "glyphs",
    "groups_of",
    "harmonic",
    "held",
    "idx_pairs",
    "joined",
    "kept_in",
    "linear",
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
    "resident",
    "rows_of_classes",
    "sinusoid",
    "size",
    "stratified",
    "task",
    "task_numbers",
    "teacher_forced",
    "tiered_imagenet",
    "tokenise",
    "tokenise_spans",
    "tokenise_words",
    "varied_device_episodes",
    "varied_episodes",
    "varied_resident",
]
