"""The examples that a config names, with labels that fit its task."""

from itertools import islice
from pathlib import Path

from ml_collections import ConfigDict

from experiments.tasks import TASKS
from tl_jax import data
from tl_jax.tree import no_match

KINDS = {
    "classification": "classes",
    "regression": "numbers",
    "multilabel": "multi-label",
    "tokens": "words",
    "span": "spans",
}
"""Task -> what `data.task` must say of the labels."""
COLUMNS = {"tokens": ("tokens", "labels")}
"""Task -> (text, label) columns of a file where the config names none."""


def read_examples(config: ConfigDict) -> data.Examples:
    """The examples that `config.data.source` names, with labels that fit the task.

    A name of the catalogue, `tfds:NAME`, a .csv/.tsv/.jsonl file, or a folder with
    one sub-folder of texts or of pictures a class, or with idx files as MNIST has them.
    """
    if config.task not in TASKS:
        raise no_match("config.task", config.task, TASKS)
    source, at = config.data.source, "config.data.source"
    path = Path(source).expanduser()
    if source.startswith("tfds:"):
        examples = data.from_tfds(source[5:], label=columns_of(config)[1])
        examples = on_background(examples, config)
    elif path.is_dir():
        examples = _from_folder(path, config)
    elif path.is_file():
        examples = _from_file(path, config)
    elif source in data.catalogue():
        examples = on_background(data.load(source), config)
    elif path.suffix or source.startswith((".", "/", "~")):
        raise FileNotFoundError(f"{at}: there is no file or folder {source!r}")
    else:
        raise no_match(at, source, data.catalogue())
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


def on_background(examples: data.Examples, config: ConfigDict) -> data.Examples:
    """The examples with their pictures on the config's background."""
    image = examples.inputs.get("image")
    if not isinstance(image, data.Pictures | data.Held):
        return examples
    image = image._replace(background=data.colour(config.data.background))
    return examples._replace(inputs=examples.inputs | {"image": image})


def _from_folder(path: Path, config: ConfigDict) -> data.Examples:
    """Idx files, pictures if there is one among the first files, else texts."""
    if data.idx_pairs(path):
        return data.from_idx_folder(path)
    files = (p for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
    if any(p.suffix.lower() in data.PICTURES for p in islice(files, 1000)):
        own = config.data
        return data.from_image_folder(
            path, background=own.background, damaged=own.damaged
        )
    return data.from_folder(path)


def _from_file(path: Path, config: ConfigDict) -> data.Examples:
    if config.task == "span":
        return data.from_questions(path)
    text, label = columns_of(config)
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
