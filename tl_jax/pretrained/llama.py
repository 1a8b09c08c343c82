"""Llama and models of its shape: from transformers' config.json to a model."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import jax.numpy as jnp

from tl_jax.models.causal import Over
from tl_jax.models.llama import check_sizes, llama
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.bert import ACTIVATIONS
from tl_jax.pretrained.causal import Heads, architecture, choose, layout, leaves
from tl_jax.pretrained.family import (
    Reader,
    Recipe,
    Unsupported,
    choice,
    number,
    refuse,
    whole,
)
from tl_jax.pretrained.names import Row
from tl_jax.pretrained.rope import LENGTH, angles_of

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
HEADS = Heads(
    {
        "LlamaForCausalLM": ("vocabulary", "lm_head"),
        "LlamaForSequenceClassification": ("sequence", "score"),
    },
    "LlamaModel",
    "Llama",
    tied=False,
)
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
    chosen = choose(HEADS, config, head, over)
    settings = _settings(config)
    if attention_rate is not None:
        settings["attention_rate"] = float(attention_rate)
    options = dict(over=chosen.over, rules=rules, remat=remat)
    model = llama(**settings, tied=chosen.tied, **options, dtype=dtype)
    options |= dict(head=head, attention_rate=settings["attention_rate"])
    omit = {FREQUENCIES: "a buffer of rotary frequencies"}
    return Recipe(
        model,
        layout(HEADS, _rows(config), settings["depth"], "model", chosen, head, omit),
        leaves(model, config, chosen),
        options | {"dtype": jnp.dtype(dtype).name},
        chosen.named if chosen.kept else HEADS.body,
        bare=not chosen.kept,
        positions=whole({LENGTH: 2048} | config, LENGTH),
    )


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


def _rows(config: Mapping[str, Any]) -> list[Row]:
    """The body's names, with biases where the config has them."""
    biased = tuple(f"/{layer}/" for layer in _biases(config))
    return [
        (ours, theirs, "dense" if any(b in ours for b in biased) else kind)
        for ours, theirs, kind in BODY
    ]


READERS: Mapping[str, Reader] = {
    "llama": Reader(recipe, partial(architecture, HEADS), ("over",))
}
"""`model_type` -> reader."""
