"""A problem made ready: weights, task, and the batches of every split."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.tasks import TASKS, Task, make_task
from tl_jax import assets, data, pretrained
from tl_jax.data.loader import BUCKETS
from tl_jax.tree import no_match
from tl_jax.types import Pretrained, Stream

KINDS = {
    "classification": "classes",
    "regression": "numbers",
    "multilabel": "multi-label",
    "tokens": "words",
    "span": "spans",
}
"""Task -> what `data.task` must say of the labels."""
OVER = {"tokens": "tokens", "span": "tokens"}
COLUMNS = {"tokens": ("tokens", "labels")}
"""Task -> (text, label) columns of a file where the config names none."""


class Problem(NamedTuple):
    """What all strategies and seeds share."""

    base: Pretrained
    task: Task
    outputs: int
    """Width of the head."""
    classes: tuple[str, ...]
    examples: data.Examples
    tokens: data.Tokens
    config: ConfigDict
    buckets: tuple[int, ...]

    def training(self, rows: np.ndarray, seed: int) -> data.Loader:
        """Endless shuffled batches of some rows."""
        return data.loader(
            self.tokens.columns,
            self.labels,
            rows,
            self.config.batch_size,
            seed,
            buckets=self.buckets,
        )

    def streams(self, rows: np.ndarray) -> Iterator[Stream]:
        """Each of the rows once, short ones first, padding at weight 0."""
        return data.evaluation(
            self.tokens.columns,
            self.labels,
            rows,
            self.config.eval_batch_size,
            buckets=self.buckets,
        )

    @property
    def labels(self) -> Any:
        """Labels that go with the token columns."""
        return (
            self.examples.labels if self.tokens.labels is None else self.tokens.labels
        )


def cache_folder() -> Path:
    """Where tokens, assets and compiled programs are kept between runs."""
    return assets.cache_dir()


def read_examples(config: ConfigDict) -> data.Examples:
    """The examples that `config.data.source` names, with labels that fit the task.

    A name of the catalogue, `tfds:NAME`, a .csv/.tsv/.jsonl file, or a folder with
    one sub-folder of texts a class.
    """
    if config.task not in TASKS:
        raise no_match("config.task", config.task, TASKS)
    source, at = config.data.source, "config.data.source"
    path = Path(source).expanduser()
    if source.startswith("tfds:"):
        examples = data.from_tfds(source[5:], label=columns_of(config)[1])
    elif path.is_dir():
        examples = data.from_folder(path)
    elif path.is_file():
        examples = _from_file(path, config)
    elif source in data.catalogue():
        examples = data.load(source)
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


def load_base(config: ConfigDict) -> Pretrained:
    """The pretrained model in the form that the task needs, its own head left out."""
    model = config.model
    dtypes = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
    if model.dtype not in dtypes:
        raise no_match("config.model.dtype", model.dtype, dtypes)
    options: dict[str, Any] = {"over": OVER.get(config.task, "sequence")}
    if model.features:
        options["features"] = model.features
    if model.dropout >= 0:
        names = ("rate", "attention_rate", "head_rate")
        options |= dict.fromkeys(names, model.dropout)
    return pretrained.load(
        model.spec, head="drop", dtype=dtypes[model.dtype], remat=model.remat, **options
    )


def make_problem(config: ConfigDict) -> Problem:
    """Read, check, load and tokenise everything that the config names."""
    examples = read_examples(config)
    base = load_base(config)
    if base.tokenizer is None:
        raise ValueError(f"config.model.spec: {config.model.spec!r} has no tokenizer")
    length = config.data.length
    if not 8 <= length <= base.tokenizer.length:
        raise ValueError(
            f"config.data.length is {length}, expected 8 to {base.tokenizer.length}, "
            f"the most that {config.model.spec!r} takes"
        )
    buckets = tuple(config.data.buckets) or buckets_up_to(length)
    labels = None
    if config.class_weights != "none" and config.task == "classification":
        # Any seed's do: whatever is drawn anew for a seed has equal classes.
        train = split(examples, config, config.seeds[0])["train"]
        labels = examples.labels[train]
    task = make_task(
        config.task,
        examples.classes,
        smoothing=config.smoothing,
        class_weights=config.class_weights,
        labels=labels,
    )
    tokens = encode(examples, base.tokenizer, config)
    outputs = task.outputs(len(examples.classes))
    return Problem(
        base, task, outputs, examples.classes, examples, tokens, config, buckets
    )


def buckets_up_to(length: int) -> tuple[int, ...]:
    """The default lengths below `length`, and `length` itself."""
    return (*(size for size in BUCKETS if size < length), length)


def encode(examples: data.Examples, tokenizer: Any, config: ConfigDict) -> data.Tokens:
    """Token columns of the examples, kept on disk between runs."""
    encoder, inputs = tokenizer.encoder, examples.inputs
    shared = {"length": config.data.length, "cache": cache_folder() / "tokens"}
    if config.task == "tokens":
        return data.tokenise_words(encoder, inputs["words"], examples.labels, **shared)
    if config.task == "span":
        texts = inputs["question"], inputs["context"]
        return data.tokenise_spans(encoder, *texts, examples.labels, **shared)
    return data.tokenise(encoder, column(examples, columns_of(config)[0]), **shared)


def column(examples: data.Examples, name: str) -> list[str]:
    """The text column, the only one where there is just one."""
    texts = {k: v for k, v in examples.inputs.items() if isinstance(v, list)}
    if name in texts:
        return texts[name]
    if len(texts) == 1:
        return next(iter(texts.values()))
    raise no_match(f"config.data.text: {examples.name}'s column", name, texts)


def split(examples: data.Examples, config: ConfigDict, seed: int) -> data.Splits:
    """Disjoint rows of train, validation and test.

    Equal texts are on one side, unless the source brings splits of its own.

    The test rows depend on `data.split_seed` alone, so that runs of all seeds are
    compared on the same ones; few-label subsets are drawn anew for each seed.
    """
    own, wanted = config.data, KINDS[config.task]
    count = data.size(examples)
    labels = np.zeros(count, int)
    if wanted == "classes":
        labels = np.asarray(examples.labels)
    names = examples.classes if wanted == "classes" else ()
    groups = _groups(examples)
    pool, test = _held_out(examples, own, labels, groups, names)
    if own.test_limit:
        drawn = np.random.default_rng(own.split_seed).permutation(test)
        test = np.sort(drawn[: own.test_limit])
    if own.per_class:
        few = {"rows": pool, "groups": groups, "classes": names}
        k_val = own.validation_per_class
        parts = data.few(labels, own.per_class, k_val, seed, **few)
    elif "validation" in examples.splits:
        parts = {"train": pool, "validation": examples.splits["validation"]}
    else:
        shares = {"train": 1 - own.validation, "validation": own.validation}
        inside = {"groups": groups[pool], "classes": names}
        found = data.stratified(labels[pool], shares, own.split_seed, **inside)
        parts = {name: pool[rows] for name, rows in found.items()}
    return data.disjoint(parts | {"test": test}, count)


def _texts(examples: data.Examples) -> list[str] | None:
    """The text [N] that says whether two rows are the same; None without any."""
    columns = [v for v in examples.inputs.values() if isinstance(v, list)]
    if not columns:
        return None
    chosen = examples.inputs.get("context", columns[0])
    return [text if isinstance(text, str) else " ".join(text) for text in chosen]


def _groups(examples: data.Examples) -> np.ndarray:
    """A number [N] a row: the source's own groups, else rows of equal texts."""
    if examples.groups is not None:
        return examples.groups
    texts = _texts(examples)
    return np.arange(data.size(examples)) if texts is None else data.groups_of(texts)


def _held_out(examples, own, labels, groups, names) -> tuple[np.ndarray, np.ndarray]:
    """(the rest, test): the source's own test split, else by class or by hash.

    The source's own validation split is in neither.
    """
    validation = examples.splits.get("validation", np.zeros(0, int))
    rows = np.setdiff1d(np.arange(len(labels)), validation)
    if "test" in examples.splits:
        test = examples.splits["test"]
        return examples.splits.get("train", np.setdiff1d(rows, test)), test
    shares, inside = {"rest": 1 - own.test, "test": own.test}, groups[rows]
    texts = _texts(examples)
    if own.split_by == "hash" and texts is not None:
        parts = data.by_text([texts[row] for row in rows], shares, own.split_seed)
        return rows[parts["rest"]], rows[parts["test"]]
    parts = data.stratified(
        labels[rows], shares, own.split_seed, groups=inside, classes=names
    )
    return rows[parts["rest"]], rows[parts["test"]]
