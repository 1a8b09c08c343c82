"""miniImageNet and tieredImageNet as pickles, read without running them."""

from pathlib import Path
from typing import Any

import numpy as np

from tl_jax import pickles
from tl_jax.data.few_shot import PARTS, class_folders, mini_imagenet_lists
from tl_jax.data.few_shot import split_examples as made
from tl_jax.data.pictures import WHITE, Held, digest
from tl_jax.data.sources import Examples

MINI = "mini-imagenet-cache-{}.pkl"
TIERED = "{}_images_png.pkl", "{}_labels.pkl"
INSTEAD = "give the pictures in folders {train,val,test}/<class>/ instead"


def mini_imagenet(path: str | Path, *, damaged: str = "raise") -> Examples:
    """miniImageNet, 100 classes of 600 pictures (Vinyals et al., 2016), in a folder.

    `mini-imagenet-cache-{train,val,test}.pkl`, each with `image_data`, uint8
    [N 84 84 3], and `class_dict`, class -> rows; or `{train,val,test}.csv` with
    `filename,label` and `images/` (Ravi and Larochelle, 2017).
    """
    root, images, labels, parts = Path(path).expanduser(), [], [], []
    if not (root / MINI.format("train")).is_file():
        return mini_imagenet_lists(root, damaged=damaged)
    for part, split in PARTS.items():
        file = root / MINI.format(part)
        found = _read(file)
        pixels = _field(file, found, "image_data")
        classes = _field(file, found, "class_dict")
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            raise ValueError(f"{file}: image_data is not uint8 [N H W C]; {INSTEAD}")
        for name, rows in classes.items():
            images.append(pixels[np.asarray(rows, int)])
            labels += [str(name)] * len(rows)
            parts += [split] * len(rows)
    return made("mini-imagenet", {"image": np.concatenate(images)}, labels, parts)


def tiered_imagenet(path: str | Path, *, damaged: str = "raise") -> Examples:
    """tieredImageNet: 351, 97 and 160 classes of 34 categories (Ren et al., 2018).

    `{train,val,test}_images_png.pkl`, lists of encoded pictures, with `_labels.pkl`
    (`label_specific`, and `label_specific_str` or `label_specific_names`), or folders
    `{train,val,test}/<class>/`. Pictures stay encoded, in memory.
    """
    root = Path(path).expanduser()
    if not (root / TIERED[0].format("train")).is_file():
        return class_folders(root, damaged=damaged)
    values, labels, parts = [], [], []
    for part, split in PARTS.items():
        images, names = (root / file.format(part) for file in TIERED)
        encoded = _read(images)
        ids = _ids(names)
        if not isinstance(encoded, list) or len(encoded) != len(ids):
            raise ValueError(
                f"{images}: expected a list of {len(ids)} encoded pictures, as many as "
                f"{names.name} has labels; {INSTEAD}"
            )
        values += [np.asarray(value, np.uint8).tobytes() for value in encoded]
        labels += ids
        parts += [split] * len(ids)
    digests = np.asarray([digest(value) for value in values], np.uint64)
    column = Held(tuple(values), digests, WHITE)
    return made("tiered-imagenet", {"image": column}, labels, parts)


def _ids(file: Path) -> list[str]:
    """A class name for each picture; without names, the number within its split."""
    found = _read(file)
    numbers = [int(n) for n in np.asarray(_field(file, found, "label_specific"))]
    for key in ("label_specific_str", "label_specific_names"):
        if key in found:
            return [str(found[key][number]) for number in numbers]
    return [f"{file.stem.split('_')[0]}/{number}" for number in numbers]


def _read(file: Path) -> Any:
    """What a pickle describes, or a message on why it is not read."""
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        return pickles.plain(pickles.parse(file.read_bytes()))
    except pickles.Unsafe as error:
        raise ValueError(
            f"{file} is not read, as loading it could run code: {error}; {INSTEAD}"
        ) from None
    except pickles.BROKEN as error:
        raise ValueError(f"{file} is damaged or no pickle: {error}") from None


def _field(file: Path, found: Any, name: str) -> Any:
    if not isinstance(found, dict) or name not in found:
        held = ", ".join(map(str, found)) if isinstance(found, dict) else "no dict"
        raise ValueError(f"{file}: there is no {name!r}, only {held}")
    return found[name]
