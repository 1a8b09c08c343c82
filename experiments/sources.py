"""The examples that a config names, with labels that fit its task."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.tasks import TASKS, TEXTS
from tl_jax import data
from tl_jax.tree import no_match

KINDS = {
    "classification": "classes",
    "regression": "numbers",
    "multilabel": "multi-label",
    "tokens": "words",
    "span": "spans",
    "fewshot": "classes",
    "seq2seq": "texts",
    "causal": "texts",
}
"""Task -> what `data.task` must say of the labels."""
FEW_SHOT = {
    "omniglot": (data.omniglot, ("images_background", "splits/vinyals")),
    "mini-imagenet": (
        data.mini_imagenet,
        ("mini-imagenet-cache-train.pkl", "train.csv"),
    ),
    "tiered-imagenet": (data.tiered_imagenet, ("train_images_png.pkl",)),
    "cifar-fs": (
        data.cifar_fs,
        ("splits/bertinetto", "cifar100/splits/bertinetto"),
    ),
    "meta-dataset": (data.meta_dataset, ("dataset_spec.json",)),
}
"""Published set -> (reader, what tells its folder); `NAME:FOLDER` is read by it."""
READERS = {"amazon": data.amazon} | {name: read for name, (read, _) in FEW_SHOT.items()}
"""Kind -> reader of what stands behind `KIND:`, a folder, or a part of one."""
COLUMNS = {"tokens": ("tokens", "labels"), **dict.fromkeys(TEXTS, ("text", "target"))}
"""Task -> (text, label) columns of a file where the config names none."""


def read_examples(
    config: ConfigDict, *, source: str = "", at: str = "config.data.source"
) -> data.Examples:
    """The examples of a source, with labels that fit the task.

    That is `config.data.source`, or the one that is given, which messages call `at`.

    A name of the catalogue, `tfds:NAME`, a .csv/.tsv/.jsonl file, or a folder with
    one sub-folder of texts or of pictures a class, with idx files as MNIST has them, or
    with a published few-shot set (`FEW_SHOT`), which `NAME:FOLDER` names outright, as
    it does other published sets (`READERS`).
    """
    if config.task not in TASKS:
        raise no_match("config.task", config.task, TASKS)
    source, own = source or config.data.source, config.data
    examples = from_source(
        source,
        at,
        label=columns_of(config)[1],
        background=own.background,
        damaged=own.damaged,
        of_file=lambda path: _from_file(path, config),
    )
    found, wanted = data.task(examples), KINDS[config.task]
    if found != wanted:
        fits = [task for task, kind in KINDS.items() if kind == found]
        hint = f"; --config.task={fits[0]} fits them" if fits else ""
        if wanted == "multi-label":
            hint = "; a .jsonl file with a list of names as each label gives them"
        raise ValueError(
            f"{at}: {source!r} has labels of kind {found!r}; task {config.task!r} "
            f"needs {wanted!r}{hint}"
        )
    return examples


def from_source(
    source: str,
    at: str,
    *,
    label: str = "label",
    background: str | tuple[int, int, int] = "white",
    damaged: str = "raise",
    of_file: Callable[[Path], data.Examples] = data.from_table,
    report: Callable[[str], None] | None = None,
) -> data.Examples:
    """The examples of a name, file or folder, which messages call `at`.

    `report` takes lines on what takes long.

    Raises `NoMatch`, ValueError or FileNotFoundError for what can't be read.
    """
    path = Path(source).expanduser()
    if source.startswith("tfds:"):
        return data.from_tfds(source[5:], label=label, background=background)
    kind, colon, folder = source.partition(":")
    if colon and kind in READERS:
        return READERS[kind](folder)
    if path.is_dir():
        return _from_folder(path, background, damaged)
    if path.is_file():
        return of_file(path)
    if source in data.catalogue():
        return on_background(data.load(source, report=report), background)
    if path.suffix or source.startswith((".", "/", "~")):
        raise FileNotFoundError(f"{at}: there is no file or folder {source!r}")
    known = {*data.catalogue(), *(f"{name}:{folder or 'FOLDER'}" for name in READERS)}
    raise no_match(at, source, known)


def on_background(
    examples: data.Examples, background: str | tuple[int, int, int]
) -> data.Examples:
    """The examples with their pictures on a background."""
    image = examples.inputs.get("image")
    if not isinstance(image, data.Pictures | data.Held):
        return examples
    image = image._replace(background=data.colour(background))
    return examples._replace(inputs=examples.inputs | {"image": image})


def _from_folder(path: Path, background: Any, damaged: str) -> data.Examples:
    """A few-shot set, idx files, pictures if one is among the first, else texts."""
    for read, marks in FEW_SHOT.values():
        if any((path / mark).exists() for mark in marks):
            return read(path)
    if data.idx_pairs(path):
        return data.from_idx_folder(path)
    files = (p for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
    if any(p.suffix.lower() in data.PICTURES for p in islice(files, 1000)):
        return data.from_image_folder(path, background=background, damaged=damaged)
    return data.from_folder(path)


def _from_file(path: Path, config: ConfigDict) -> data.Examples:
    if config.task == "span":
        return data.from_questions(path)
    text, label = columns_of(config)
    if config.task in TEXTS:
        return data.from_pairs(path, text=text, target=label)
    if config.task == "tokens":
        return data.from_tagged(path, tokens=text, labels=label)
    regression = config.task == "regression"
    return data.from_table(path, text=text, label=label, regression=regression)


def columns_of(config: ConfigDict) -> tuple[str, str]:
    """Names of the text and the label column: the config's, else the task's own."""
    text, label = COLUMNS.get(config.task, ("text", "label"))
    return config.data.text or text, config.data.label or label


def column(examples: data.Examples, name: str) -> list[str]:
    """The text column, the only one where there is just one."""
    texts = {k: v for k, v in examples.inputs.items() if isinstance(v, list)}
    if name in texts:
        return texts[name]
    if len(texts) == 1:
        return next(iter(texts.values()))
    raise no_match(f"config.data.text: {examples.name}'s column", name, texts)
