"""BERT, RoBERTa and DistilBERT: from transformers' config.json to a model."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax.numpy as jnp

from tl_jax.models.bert import Features, Head, bert
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.family import (
    DROPPED,
    POOLER_UNUSED,
    Reader,
    Recipe,
    Unsupported,
    architecture_of,
    choice,
    labels_of,
    number,
    refuse,
    whole,
)
from tl_jax.pretrained.files import did_you_mean
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.names import Layout, expand
from tl_jax.pretrained.names_bert import FAMILIES, POOLER, Family, HeadTable
from tl_jax.types import Model

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""The config's activation -> ours."""
SUPPORTED = {
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
BUFFERS = r"embeddings\.(position_ids|token_type_ids)"
NEXT_SENTENCE = r"cls\.seq_relationship\.(weight|bias)"


def recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    features: Features | None = None,
    over: Head | None = None,
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
    rate: float | None = None,
    attention_rate: float | None = None,
    head_rate: float | None = None,
) -> Recipe:
    """What config.json describes, with the given options.

    `features` and `over` are those of the architecture where its head is kept, else
    free ("mean" and "sequence" by default). Rates of None are the config's.

    Raises `Unsupported` for a setting that has no model here, `ValueError` for
    options that contradict the architecture.
    """
    family = FAMILIES[config["model_type"]]
    refuse(config, SUPPORTED)
    named, table = _architecture(config, family, head)
    kept = table is not None and head == "keep"
    features = _features(features, family, named, table, kept)
    if kept and over not in (None, table.over):
        raise ValueError(
            f"over={over!r}, but the head of {named} reads {table.over!r}; "
            f"drop it with head='drop'"
        )
    over = table.over if kept else _one_of("over", over or "sequence", get_args(Head))
    settings = _settings(config, family, table)
    given = dict(rate=rate, attention_rate=attention_rate, head_rate=head_rate)
    settings |= {name: float(v) for name, v in given.items() if v is not None}
    options = dict(features=features, over=over, rules=rules, remat=remat)
    model = bert(**settings, **options, dtype=dtype)
    rates = {name: settings[name] for name in given}
    return Recipe(
        model,
        _layout(config, family, table if kept else None, settings, features, head),
        _leaves(model, table if kept else None, settings, config),
        options | rates | dict(head=head, dtype=jnp.dtype(dtype).name),
        named if kept else f"{family.classes}Model",
        bare=not kept,
        positions=settings["positions"] - 1 - settings.get("padding_index", -1),
    )


def architecture(
    config: Mapping[str, Any], options: Mapping[str, Any], has_head: bool
) -> str:
    """The name of a tree to be saved: the config's own where its head's kind stays."""
    family, over = FAMILIES[config["model_type"]], options["over"]
    if not has_head:
        return f"{family.classes}Model"
    named, table = _architecture(config, family, "drop")
    if table is not None and table.over == over:
        return named
    usual = {
        "sequence": "ForSequenceClassification",
        "tokens": "ForTokenClassification",
        "vocabulary": "ForMaskedLM",
    }
    return family.classes + usual[over]


def _architecture(
    config: Mapping[str, Any], family: Family, head: str
) -> tuple[str, HeadTable | None]:
    _one_of("head", head, ("keep", "drop"))
    name = architecture_of(config) or f"{family.classes}Model"
    known = {f"{family.classes}{rest}": t for rest, t in family.heads.items()}
    if name in known or name == f"{family.classes}Model":
        return name, known.get(name)
    if head == "drop" and name.startswith(family.classes):
        return name, None
    raise Unsupported(
        f"config.json: architectures names {name!r}; known: {family.classes}Model, "
        f"{', '.join(known)}; with head='drop' its head is left out"
    )


def _features(
    features: Features | None,
    family: Family,
    named: str,
    table: HeadTable | None,
    kept: bool,
) -> Features:
    default = "mean" if table is None else table.features
    if features is None:
        return default
    _one_of("features", features, get_args(Features))
    if kept and table.over == "sequence" and features != default:
        raise ValueError(
            f"features={features!r}, but the head of {named} reads "
            f"{default!r}; drop it with head='drop'"
        )
    if features == "pooler" and not family.pooler:
        raise ValueError(f"{named} has no pooler; features: 'mean' or 'cls'")
    return features


def _one_of(option: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{option}={value!r}; {did_you_mean(value, known)}")
    return value


def _settings(
    config: Mapping[str, Any], family: Family, table: HeadTable | None
) -> dict[str, Any]:
    """The arguments of `bert` that config.json decides."""
    field = family.fields
    sizes = ("vocabulary", "width", "depth", "heads", "hidden", "positions")
    settings: dict[str, Any] = {name: whole(config, field[name]) for name in sizes}
    if settings["width"] % settings["heads"]:
        raise Unsupported(
            f"config.json: {field['width']} {settings['width']} is no multiple of "
            f"{field['heads']} {settings['heads']}"
        )
    settings["types"] = whole(config, field["types"]) if "types" in field else 0
    if family.counts_from_padding:
        settings["padding_index"] = whole(
            {"pad_token_id": 1} | config, "pad_token_id", 0
        )
    if "epsilon" in field:
        settings["epsilon"] = number(config, [field["epsilon"]], 1e-12)
    for name in ("rate", "attention_rate"):
        settings[name] = number(config, [field[name]], 0.1)
    fields = [field["rate"]] if table is None else table.rates
    settings["head_rate"] = number(config, fields, 0.0)
    settings["activation"] = choice(config, field["activation"], ACTIVATIONS, "gelu")
    settings["head_activation"] = family.hidden_activation
    if table is not None and table.exact and settings["activation"] != "gelu":
        raise Unsupported(
            f"config.json: {field['activation']} is {config[field['activation']]!r}, "
            f"but the masked-LM head of {family.classes} always computes 'gelu'"
        )
    return settings


def _layout(
    config: Mapping[str, Any],
    family: Family,
    table: HeadTable | None,
    settings: Mapping[str, Any],
    features: Features,
    head: str,
) -> Layout:
    rows = list(family.body)
    omit = {BUFFERS: "a buffer that only counts", NEXT_SENTENCE: "next-sentence head"}
    if features == "pooler":
        rows += POOLER
    else:
        omit[r"pooler\.dense\.(weight|bias)"] = POOLER_UNUSED
    heads = family.heads.values()
    modules = [name.theirs for t in heads for name in expand(t.rows)]
    modules += [name for t in heads for name in t.tied]
    words = {name.split(".")[0] for name in modules}
    if head == "drop":
        omit |= {rf"{word}\..*": DROPPED for word in sorted(words)}
    if table is not None:
        rows += table.rows
    tied = {} if table is None else dict(table.tied)
    untied = config.get("tie_word_embeddings") is False
    return Layout(
        expand(rows, settings["depth"]),
        family.prefix,
        frozenset(words),
        tied,
        omit,
        tuple(n for n in tied if untied and n.endswith("weight")),
    )


def _leaves(
    model: Model,
    table: HeadTable | None,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
) -> dict[str, tuple[int, ...]]:
    """Shapes of all leaves, the body's from the model itself."""
    leaves = shapes_of(model)
    if table is None:
        return leaves
    width, classes = settings["width"], settings["vocabulary"]
    if table.over != "vocabulary":
        classes = labels_of(config)
    shapes = {
        "head/hidden/kernel": (width, width),
        "head/hidden/bias": (width,),
        "head/norm/scale": (width,),
        "head/norm/bias": (width,),
        "head/kernel": (width, classes),
        "head/bias": (classes,),
    }
    return leaves | {n.ours: shapes[n.ours] for n in expand(table.rows)}


READERS: Mapping[str, Reader] = dict.fromkeys(
    FAMILIES, Reader(recipe, architecture, ("features", "over"))
)
"""`model_type` -> reader."""
