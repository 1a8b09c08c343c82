"""Llama and models of its shape: from transformers' config.json to a model."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax.numpy as jnp

from tl_jax.models.llama import Over, check_sizes, llama
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.bert import ACTIVATIONS
from tl_jax.pretrained.family import (
    DROPPED,
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
from tl_jax.pretrained.names import Layout, Row, expand
from tl_jax.pretrained.rope import LENGTH, angles_of
from tl_jax.types import Model

BODY: list[Row] = [
    ("embed/tokens", "embed_tokens", "table"),
    ("blocks/{i}/attention/query", "layers.{i}.self_attn.q_proj", "kernel"),
    ("blocks/{i}/attention/key", "layers.{i}.self_attn.k_proj", "kernel"),
    ("blocks/{i}/attention/value", "layers.{i}.self_attn.v_proj", "kernel"),
    ("blocks/{i}/attention/output", "layers.{i}.self_attn.o_proj", "kernel"),
    ("blocks/{i}/norm_attention", "layers.{i}.input_layernorm", "scale"),
    ("blocks/{i}/mlp/gate", "layers.{i}.mlp.gate_proj", "kernel"),
    ("blocks/{i}/mlp/up", "layers.{i}.mlp.up_proj", "kernel"),
    ("blocks/{i}/mlp/down", "layers.{i}.mlp.down_proj", "kernel"),
    ("blocks/{i}/norm_mlp", "layers.{i}.post_attention_layernorm", "scale"),
    ("norm", "norm", "scale"),
]
HEADS: Mapping[str, tuple[Over, str]] = {
    "LlamaForCausalLM": ("vocabulary", "lm_head"),
    "LlamaForSequenceClassification": ("sequence", "score"),
}
"""Architecture -> (what its head reads, the head's module)."""
BODY_ONLY = "LlamaModel"
SUPPORTED = {
    "attention_bias": (False, True, None),
    "mlp_bias": (False, True, None),
    "sliding_window": (None,),
    "quantization_config": (None,),
}
FREQUENCIES = r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
GROUPS, HEAD = "num_key_value_heads", "head_dim"
BIASES = {"attention_bias": "attention", "mlp_bias": "mlp"}
"""Field -> the layer whose products then have biases."""


def recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    over: Over | None = None,
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
    attention_rate: float | None = None,
) -> Recipe:
    """What config.json describes, with the given options.

    `over` is that of the architecture where its head is kept, else free ("sequence"
    by default). A rate of None is the config's. Raises as `bert.recipe` does.
    """
    refuse(config, SUPPORTED)
    named, table = _architecture(config, head)
    kept = table is not None and head == "keep"
    over = _over(over, named, table if kept else None)
    settings = _settings(config)
    if attention_rate is not None:
        settings["attention_rate"] = float(attention_rate)
    tied = kept and over == "vocabulary" and _ties(config)
    options = dict(over=over, rules=rules, remat=remat)
    model = llama(**settings, tied=tied, **options, dtype=dtype)
    options |= dict(head=head, attention_rate=settings["attention_rate"])
    return Recipe(
        model,
        _layout(config, settings["depth"], table[1] if kept else None, tied, head),
        _leaves(model, config, over if kept else None),
        options | {"dtype": jnp.dtype(dtype).name},
        named if kept else BODY_ONLY,
        bare=not kept,
        positions=whole({"max_position_embeddings": 2048} | config, LENGTH),
    )


def architecture(
    config: Mapping[str, Any], options: Mapping[str, Any], has_head: bool
) -> str:
    """The name of a tree to be saved; a tied head is not in it."""
    if has_head:
        return {over: name for name, (over, _) in HEADS.items()}[options["over"]]
    named, table = _architecture(config, options["head"])
    kept = table is not None and options["head"] == "keep"
    words = kept and options["over"] == "vocabulary" and _ties(config)
    return named if words else BODY_ONLY


def _architecture(
    config: Mapping[str, Any], head: str
) -> tuple[str, tuple[Over, str] | None]:
    if head not in ("keep", "drop"):
        raise ValueError(f"head={head!r}; {did_you_mean(head, ('keep', 'drop'))}")
    name = architecture_of(config) or BODY_ONLY
    if name in HEADS or name == BODY_ONLY:
        return name, HEADS.get(name)
    if head == "drop" and name.startswith("Llama"):
        return name, None
    raise Unsupported(
        f"config.json: architectures names {name!r}; known: {BODY_ONLY}, "
        f"{', '.join(HEADS)}; with head='drop' its head is left out"
    )


def _over(over: Over | None, named: str, table: tuple[Over, str] | None) -> Over:
    if over is not None and over not in get_args(Over):
        raise ValueError(f"over={over!r}; {did_you_mean(over, get_args(Over))}")
    if table is None:
        return over or "sequence"
    if over not in (None, table[0]):
        raise ValueError(
            f"over={over!r}, but the head of {named} reads {table[0]!r}; "
            f"drop it with head='drop'"
        )
    return table[0]


def _ties(config: Mapping[str, Any]) -> bool:
    refuse(config, {"tie_word_embeddings": (False, True, None)})
    return bool(config.get("tie_word_embeddings"))


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `llama` that config.json decides."""
    heads = whole(config, "num_attention_heads")
    given = {name: value for name, value in config.items() if value is not None}
    base, scaling = angles_of(config)
    settings: dict[str, Any] = dict(
        vocabulary=whole(config, "vocab_size"),
        width=whole(config, "hidden_size"),
        depth=whole(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=whole({GROUPS: heads} | given, GROUPS),
        head_width=whole(given, HEAD) if HEAD in given else None,
        hidden=whole(config, "intermediate_size"),
        base=base,
        scaling=scaling,
        biases=_biases(config),
        epsilon=number(config, ["rms_norm_eps"], 1e-6),
        attention_rate=number(config, ["attention_dropout"], 0.0),
        activation=choice(config, "hidden_act", ACTIVATIONS, "silu"),
    )
    names = ("width", "heads", "kv_heads", "head_width")
    try:
        check_sizes(*(settings[name] for name in names))
    except ValueError as error:
        raise Unsupported(f"config.json: {error}") from None
    return settings


def _biases(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers whose products have biases."""
    return tuple(layer for field, layer in BIASES.items() if config.get(field))


def _layout(
    config: Mapping[str, Any], depth: int, module: str | None, tied: bool, head: str
) -> Layout:
    """Names of the body and of the head that is kept, `module`."""
    biased = tuple(f"/{layer}/" for layer in _biases(config))
    rows: list[Row] = [
        (ours, theirs, "dense" if any(b in ours for b in biased) else kind)
        for ours, theirs, kind in BODY
    ]
    ties = {}
    if tied:
        ties = {f"{module}.weight": "embed/tokens/embedding"}
    elif module is not None:
        rows.append(("head", module, "kernel"))
    omit = {FREQUENCIES: "a buffer of rotary frequencies"}
    words = frozenset(module for _, module in HEADS.values())
    if head == "drop":
        omit |= {rf"{word}\..*": DROPPED for word in sorted(words)}
    return Layout(expand(rows, depth), "model", words, ties, omit)


def _leaves(
    model: Model, config: Mapping[str, Any], over: Over | None
) -> dict[str, tuple[int, ...]]:
    """Shapes of all leaves; `over` is what the kept head reads."""
    leaves = shapes_of(model)
    if over is None:
        leaves.pop("head/kernel", None)
    elif over == "sequence":
        leaves["head/kernel"] = (model.width, labels_of(config))
    return leaves


READERS: Mapping[str, Reader] = {"llama": Reader(recipe, architecture, ("over",))}
"""`model_type` -> reader."""
