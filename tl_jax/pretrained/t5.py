"""T5 and mT5: from transformers' config.json to a model."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax.numpy as jnp

from tl_jax.models.llama import Over
from tl_jax.models.t5 import head_size, t5
from tl_jax.nn.relative import buckets
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.bert import ACTIVATIONS
from tl_jax.pretrained.family import (
    DROPPED,
    Reader,
    Recipe,
    Unsupported,
    architecture_of,
    choice,
    number,
    refuse,
    whole,
)
from tl_jax.pretrained.files import did_you_mean
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.names import Layout, Row, expand
from tl_jax.types import Model

SIDE: list[Row] = [
    ("blocks/{i}/attention/query", "layer.0.SelfAttention.q", "kernel"),
    ("blocks/{i}/attention/key", "layer.0.SelfAttention.k", "kernel"),
    ("blocks/{i}/attention/value", "layer.0.SelfAttention.v", "kernel"),
    ("blocks/{i}/attention/output", "layer.0.SelfAttention.o", "kernel"),
    ("blocks/{i}/norm_attention", "layer.0.layer_norm", "scale"),
]
CROSS: list[Row] = [
    ("blocks/{i}/cross/query", "layer.1.EncDecAttention.q", "kernel"),
    ("blocks/{i}/cross/key", "layer.1.EncDecAttention.k", "kernel"),
    ("blocks/{i}/cross/value", "layer.1.EncDecAttention.v", "kernel"),
    ("blocks/{i}/cross/output", "layer.1.EncDecAttention.o", "kernel"),
    ("blocks/{i}/norm_cross", "layer.1.layer_norm", "scale"),
]
UP = {False: {"up": "wi"}, True: {"gate": "wi_0", "up": "wi_1"}}
"""Gated or not -> our kernels of an MLP before `down`."""
WORDS, BODY, ENCODER = "ForConditionalGeneration", "Model", "EncoderModel"
KINDS = (WORDS, BODY, ENCODER)
PREFIXES = {"t5": "T5", "mt5": "MT5"}
"""The config's `model_type` -> what names of architectures begin with."""
OMITTED = {
    r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight": (
        "distances between the sides are not used"
    )
}
FIRST = "decoder_start_token_id"
SUPPORTED = {"quantization_config": (None,), "is_encoder_decoder": (True, None, False)}


def recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    over: Over | None = None,
    tied: bool | None = None,
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
    rate: float | None = None,
) -> Recipe:
    """What config.json describes, with the given options.

    `over` is that of the architecture where its head is kept, else free ("sequence"
    by default). `tied` is read from the config by default; see `_ties`. A rate of
    None is the config's. Raises as `bert.recipe` does.
    """
    refuse(config, SUPPORTED)
    kind = _kind(config, head)
    kept = kind == WORDS and head == "keep"
    over = _over(over, kept)
    settings = _settings(config, kind)
    if rate is not None:
        settings["rate"] = float(rate)
    tied = _ties(config) if tied is None else tied
    options: dict[str, Any] = dict(over=over, rules=rules, remat=remat)
    words = dict(tied=kept and tied, scaled=_scales(config))
    model = t5(**settings, **words, **options, dtype=dtype)
    options |= dict(head=head, rate=settings["rate"], tied=tied)
    return Recipe(
        model,
        _layout(settings, kept, tied, head),
        _leaves(model, kept),
        options | {"dtype": jnp.dtype(dtype).name},
        _named(config, WORDS if kept else BODY if kind == WORDS else kind),
        bare=not kept,
        positions=whole({"n_positions": 512} | config, "n_positions"),
    )


def architecture(
    config: Mapping[str, Any], options: Mapping[str, Any], has_head: bool
) -> str:
    """The name of a tree to be saved; a tied head is not in it.

    Raises ValueError for a head over features: transformers' is another.
    """
    if has_head and options["over"] != "vocabulary":
        raise ValueError(
            "the tree has a head over features, the encoder's mean; transformers' T5 "
            "has none such: save with the head left out"
        )
    kind = _kind(config, options["head"])
    words = kind == WORDS and options["head"] == "keep"
    return _named(config, WORDS if words else BODY if kind == WORDS else kind)


def _named(config: Mapping[str, Any], kind: str) -> str:
    return PREFIXES[config["model_type"]] + kind


def _kind(config: Mapping[str, Any], head: str) -> str:
    """What the architecture is, of `KINDS`; raises `Unsupported` for another."""
    if head not in ("keep", "drop"):
        raise ValueError(f"head={head!r}; {did_you_mean(head, ('keep', 'drop'))}")
    prefix, name = PREFIXES[config["model_type"]], architecture_of(config)
    kind = BODY if name is None else name.removeprefix(prefix)
    if kind == "WithLMHeadModel":  # what old files say
        return WORDS
    if kind in KINDS:
        return kind
    raise Unsupported(
        f"config.json: architectures names {name!r}; known: "
        + ", ".join(prefix + kind for kind in KINDS)
    )


def _over(over: Over | None, kept: bool) -> Over:
    if over is not None and over not in get_args(Over):
        raise ValueError(f"over={over!r}; {did_you_mean(over, get_args(Over))}")
    if not kept:
        return over or "sequence"
    if over not in (None, "vocabulary"):
        raise ValueError(
            f"over={over!r}, but the head of {WORDS} reads 'vocabulary'; drop it with "
            "head='drop'"
        )
    return "vocabulary"


def _ties(config: Mapping[str, Any]) -> bool:
    """Whether the table of words scores them, too.

    `tie_word_embeddings` says so; transformers 5 writes it true of every model, and
    `scale_decoder_outputs` false of those that had it false.
    """
    refuse(config, {"tie_word_embeddings": (True, False, None)})
    if config.get("tie_word_embeddings") is False:
        return False
    return config.get("scale_decoder_outputs") is not False


def _scales(config: Mapping[str, Any]) -> bool:
    """Whether states are scaled by width^-0.5 before they score words."""
    if config["model_type"] == "mt5":
        return False
    refuse(config, {"scale_decoder_outputs": (True, False, None)})
    given = config.get("scale_decoder_outputs")
    return config.get("tie_word_embeddings") is not False if given is None else given


def _settings(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The arguments of `t5` that config.json decides."""
    gated, activation = _activation(config)
    depth = whole(config, "num_layers")
    later = config.get("num_decoder_layers")
    later = depth if later is None else whole(config, "num_decoder_layers")
    read = {
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
    } | config
    settings: dict[str, Any] = dict(
        vocabulary=whole(config, "vocab_size"),
        width=whole(config, "d_model"),
        depth=depth,
        decoder_depth=0 if kind == ENCODER else later,
        heads=whole(config, "num_heads"),
        head_width=whole({"d_kv": 64} | config, "d_kv"),
        hidden=whole(config, "d_ff"),
        buckets=whole(read, "relative_attention_num_buckets", 4),
        most=whole(read, "relative_attention_max_distance"),
        gated=gated,
        activation=activation,
        epsilon=number(config, ["layer_norm_epsilon"], 1e-6),
        rate=number(config, ["dropout_rate"], 0.1),
        first=whole({FIRST: 0} | config, FIRST, 0),
    )
    try:
        head_size(settings["width"], settings["heads"], settings["head_width"])
        buckets(settings["buckets"], settings["most"])
    except ValueError as error:
        raise Unsupported(f"config.json: {error}") from None
    return settings


def _activation(config: Mapping[str, Any]) -> tuple[bool, str]:
    """(gated or not, activation) of `feed_forward_proj`."""
    value = config.get("feed_forward_proj", "relu")
    gated = isinstance(value, str) and value.startswith("gated-")
    known = ACTIVATIONS | {f"gated-{name}": own for name, own in ACTIVATIONS.items()}
    known |= {"gated-gelu": "gelu_new"}  # as transformers reads it
    return gated, choice({"feed_forward_proj": value}, "feed_forward_proj", known, "")


def _layout(settings: Mapping[str, Any], kept: bool, tied: bool, head: str) -> Layout:
    """Names of both sides and of the head where it is kept."""
    names = expand([("embed/tokens", "shared", "table")])
    names += _side("encoder", settings["depth"], SIDE, 1, settings["gated"])
    if settings["decoder_depth"]:
        rows, depth = [*SIDE, *CROSS], settings["decoder_depth"]
        names += _side("decoder", depth, rows, 2, settings["gated"])
    table = "embed/tokens/embedding"
    ties = {f"{side}.embed_tokens.weight": table for side in ("encoder", "decoder")}
    omit = dict(OMITTED)
    if kept and tied:
        ties["lm_head.weight"] = table
    elif kept:
        names += expand([("head", "lm_head", "kernel")])
    if head == "drop":
        omit[r"lm_head\.weight"] = DROPPED
    words = frozenset({"shared", "encoder", "decoder", "lm_head"})
    return Layout(names, "transformer", words, ties, omit)


def _side(side: str, depth: int, rows: list[Row], last: int, gated: bool) -> tuple:
    """The names of one side, whose MLPs are a block's layer `last`."""
    module = f"layer.{last}.DenseReluDense"
    own = [*rows, ("blocks/{i}/norm_mlp", f"layer.{last}.layer_norm", "scale")]
    for ours, theirs in (UP[gated] | {"down": "wo"}).items():
        own.append((f"blocks/{{i}}/mlp/{ours}", f"{module}.{theirs}", "kernel"))
    made = [
        (f"{side}/{ours}", f"{side}.block.{{i}}.{theirs}", kind)
        for ours, theirs, kind in own
    ]
    table = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias"
    made.append((f"{side}/blocks/0/attention/relative", table, "table"))
    made.append((f"{side}/norm", f"{side}.final_layer_norm", "scale"))
    return expand(made, depth)


def _leaves(model: Model, kept: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of all leaves; without its head where that is left out."""
    leaves = shapes_of(model)
    if not kept:
        leaves.pop("head/kernel", None)
    return leaves


READERS: Mapping[str, Reader] = {
    kind: Reader(recipe, architecture, ("over", "tied")) for kind in PREFIXES
}
"""`model_type` -> reader."""
