"""Published few-shot sets in the layouts in which they are published.

Each reader returns `Examples` whose `splits` share no class, and raises
FileNotFoundError or ValueError that names what is missing or wrong.
"""

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tl_jax.data.class_splits import by_class
from tl_jax.data.image_folder import from_image_folder
from tl_jax.data.pictures import find_files, pictures
from tl_jax.data.sources import Examples, from_arrays

LAKE = {"images_background": "train", "images_evaluation": "test"}
PARTS = {"train": "train", "val": "validation", "test": "test"}
"""File or folder -> split."""
VINYALS = Path("splits") / "vinyals"
BERTINETTO = Path("splits") / "bertinetto"
TURNS = {"rot000": 0, "rot090": 1, "rot180": 2, "rot270": 3}


def omniglot(
    path: str | Path,
    *,
    split: str = "",
    size: int = 28,
    rotations: bool = False,
) -> Examples:
    """Omniglot: 1,623 characters of 50 alphabets by 20 people (Lake et al., 2015).

    `<part>/<Alphabet>/characterNN/*.png` with the parts `images_background` and
    `images_evaluation`, or `data` for both. `split` is "lake", by these folders (train
    and test), or "vinyals", by `splits/vinyals/{train,val,test}.txt` (Vinyals et al.,
    2016), which name classes as `Alphabet/characterNN/rot090`; left empty, it is
    "vinyals" where there are such files. `image` is uint8 [N size size 1], ink 255 on
    0, unlike the files. `rotations` adds turned characters as classes to "lake".
    """
    root = _root(path)
    split = split or ("vinyals" if _under(root, VINYALS) else "lake")
    if split not in ("lake", "vinyals"):
        raise ValueError(f"split={split!r}; known: lake, vinyals")
    wanted = _lake(root, rotations) if split == "lake" else _vinyals(root)
    files, labels, turns, parts = [], [], [], []
    for part, name, folder, turn in wanted:
        own, _ = find_files(folder) if folder.is_dir() else ([], [])
        if not own:
            raise ValueError(f"{folder}: there is no picture of {name}")
        files += own
        labels += [name] * len(own)
        turns += [turn] * len(own)
        parts += [part] * len(own)
    images = _inked(files, turns, size)
    return split_examples("omniglot", {"image": images}, labels, parts)


def _lake(root: Path, rotations: bool) -> list[tuple[str, str, Path, int]]:
    """(split, class, its folder, quarter turns) of each class."""
    found = []
    for part, split in LAKE.items():
        folder = root / part
        if not folder.is_dir():
            raise FileNotFoundError(f"{root}: there is no folder {part}")
        for own in sorted(folder.glob("*/*")):
            if own.is_dir():
                name = f"{own.parent.name}/{own.name}"
                found += _turned(split, name, own, range(4 if rotations else 1))
    return found


def _turned(
    split: str, name: str, folder: Path, turns: Sequence[int]
) -> list[tuple[str, str, Path, int]]:
    suffix = {0: ""} | {turn: f"/rot{90 * turn:03}" for turn in range(1, 4)}
    return [(split, name + suffix[turn], folder, turn) for turn in turns]


def _vinyals(root: Path) -> list[tuple[str, str, Path, int]]:
    lists = _under(root, VINYALS)
    if lists is None:
        raise FileNotFoundError(
            f"{root}: there is no folder {VINYALS} with train.txt, val.txt and test.txt"
        )
    homes = [root / "data", *(root / part for part in LAKE)]
    found = []
    for split, name in _lines(lists):
        character, _, turn = name.rpartition("/")
        if turn not in TURNS:
            known = ", ".join(TURNS)
            raise ValueError(f"{lists}: {name!r} does not end with one of {known}")
        fits = [home / character for home in homes if (home / character).is_dir()]
        if not fits:
            where = ", ".join(home.name for home in homes)
            raise ValueError(f"{root}: there is no {character} in {where}")
        found += _turned(split, character, fits[0], [TURNS[turn]])
    return found


def _inked(files: Sequence[Path], turns: Sequence[int], size: int) -> np.ndarray:
    """Black on white files as ink 255 on 0. uint8 [N size size 1]"""
    from PIL import Image

    if not 8 <= size <= 512:
        raise ValueError(f"size={size}, expected 8 to 512 pixels")

    def read(file: Path) -> np.ndarray:
        try:
            with Image.open(file) as opened:
                grey = opened.convert("L")
        except OSError as error:
            raise ValueError(f"{file}: no picture that can be read: {error}") from None
        small = grey.resize((size, size), Image.Resampling.BOX)
        return 255 - np.asarray(small)

    once = list(dict.fromkeys(files))
    with ThreadPoolExecutor() as pool:
        upright = dict(zip(once, pool.map(read, once), strict=True))
    made = [np.rot90(upright[f], t) for f, t in zip(files, turns, strict=True)]
    return np.stack(made)[..., None]


def mini_imagenet_lists(path: str | Path, *, damaged: str = "raise") -> Examples:
    """miniImageNet by the lists of Ravi and Larochelle (2017): 64, 16, 20 classes.

    `{train,val,test}.csv` with the columns `filename,label`, and `images/`.
    """
    root = _root(path)
    files, labels, parts = [], [], []
    for part, split in PARTS.items():
        file = root / f"{part}.csv"
        if not file.is_file():
            raise FileNotFoundError(f"{root}: there is no {file.name}")
        with file.open(encoding="utf-8", newline="") as opened:
            rows = csv.DictReader(opened)
            lacking = {"filename", "label"} - {*(rows.fieldnames or ())}
            if lacking:
                raise ValueError(f"{file}: there is no column {', '.join(lacking)}")
            for row in rows:
                files.append(root / "images" / row["filename"])
                labels.append(row["label"])
                parts.append(split)
    _there(files)
    return _of_files("mini-imagenet", files, labels, parts, damaged)


def cifar_fs(path: str | Path, *, damaged: str = "raise") -> Examples:
    """CIFAR-FS, CIFAR-100 as a few-shot set (Bertinetto et al., 2019): 64, 16, 20.

    `data/<class>/*.png` and `splits/bertinetto/{train,val,test}.txt` with a class a
    line, in the folder or its sub-folder `cifar100`.
    """
    root = _root(path)
    lists = _under(root, BERTINETTO) or _under(root / "cifar100", BERTINETTO)
    if lists is None:
        raise FileNotFoundError(f"{root}: there is no folder {BERTINETTO}")
    home, files, labels, parts = lists.parents[1] / "data", [], [], []
    for split, name in _lines(lists):
        own, _ = find_files(home / name) if (home / name).is_dir() else ([], [])
        if not own:
            raise ValueError(f"{lists}: there is no picture of {name!r} in {home}")
        files += own
        labels += [name] * len(own)
        parts += [split] * len(own)
    return _of_files("cifar-fs", files, labels, parts, damaged)


def class_folders(path: str | Path, *, damaged: str = "raise") -> Examples:
    """Pictures in `{train,val,test}/<class>/`, as mirrors of many sets have them."""
    return by_class(from_image_folder(path, damaged=damaged))


def _root(path: str | Path) -> Path:
    root = Path(path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    return root


def _under(root: Path, folder: Path) -> Path | None:
    return root / folder if (root / folder).is_dir() else None


def _lines(lists: Path) -> list[tuple[str, str]]:
    """(split, line) of `train.txt`, `val.txt` and `test.txt`."""
    found = []
    for part, split in PARTS.items():
        file = lists / f"{part}.txt"
        if not file.is_file():
            raise FileNotFoundError(f"{lists}: there is no {file.name}")
        lines = file.read_text(encoding="utf-8").split("\n")
        found += [(split, line.strip()) for line in lines if line.strip()]
    return found


def _there(files: Sequence[Path]) -> None:
    gone = [file for file in files if not file.is_file()]
    if gone:
        raise FileNotFoundError(
            f"{len(gone)} of {len(files)} pictures are not there, the first: {gone[0]}"
        )


def _of_files(
    name: str,
    files: Sequence[Path],
    labels: Sequence[str],
    parts: Sequence[str],
    damaged: str,
) -> Examples:
    column, broken = pictures(files, damaged=damaged)
    bad = {file for file, _ in broken}
    kept = [row for row, file in enumerate(files) if file not in bad]
    notes = [f"{len(broken)} damaged pictures are left out"] if broken else []
    own, sides = [labels[row] for row in kept], [parts[row] for row in kept]
    return split_examples(name, {"image": column}, own, sides, notes)


def split_examples(
    name: str,
    inputs: dict,
    labels: Sequence[str],
    parts: Sequence[str],
    notes: Sequence[str] = (),
) -> Examples:
    """Examples with `splits` by class, and their numbers of classes in the notes."""
    side, own = np.asarray(parts), np.asarray(labels)
    splits = {part: np.flatnonzero(side == part) for part in dict.fromkeys(parts)}
    counts = [
        f"{part}: {len(np.unique(own[rows])):,} classes, {len(rows):,} pictures"
        for part, rows in splits.items()
    ]
    notes = [*counts, *notes]
    return by_class(from_arrays(inputs, list(labels), (), splits, name, notes=notes))
