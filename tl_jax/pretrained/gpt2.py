"""GPT-2: from transformers' config.json to a model."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import jax.numpy as jnp

from tl_jax.models.causal import Over
from tl_jax.models.gpt2 import gpt2
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
from tl_jax.pretrained.names import Fused, Row

BODY: list[Row] = [
    ("embed/tokens", "wte", "table"),
    ("embed/positions", "wpe", "table"),
    ("blocks/{i}/norm_attention", "h.{i}.ln_1", "norm"),
    ("blocks/{i}/attention/query", "h.{i}.attn.c_attn.query", "rows"),
    ("blocks/{i}/attention/key", "h.{i}.attn.c_attn.key", "rows"),
    ("blocks/{i}/attention/value", "h.{i}.attn.c_attn.value", "rows"),
    ("blocks/{i}/attention/output", "h.{i}.attn.c_proj", "rows"),
    ("blocks/{i}/norm_mlp", "h.{i}.ln_2", "norm"),
    ("blocks/{i}/mlp/up", "h.{i}.mlp.c_fc", "rows"),
    ("blocks/{i}/mlp/down", "h.{i}.mlp.c_proj", "rows"),
    ("norm", "ln_f", "norm"),
]
FUSED = Fused(r"(.*\.attn\.c_attn)\.(weight|bias)", ("query", "key", "value"))
"""One product makes queries, keys and values."""
HEADS = Heads(
    {
        "GPT2LMHeadModel": ("vocabulary", "lm_head"),
        "GPT2ForSequenceClassification": ("sequence", "score"),
    },
    "GPT2Model",
    "GPT2",
    tied=True,
)
MASKS = {r"h\.\d+\.attn\.(masked_)?bias": "a buffer of what is seen"}
SUPPORTED = {
    "scale_attn_weights": (True, None),
    "scale_attn_by_inverse_layer_idx": (False, None),
    "reorder_and_upcast_attn": (False, True, None),
    "add_cross_attention": (False, None),
    "quantization_config": (None,),
}
"""Scores are in float32 as they are: `reorder_and_upcast_attn` changes nothing."""


def recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    over: Over | None = None,
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
    rate: float | None = None,
    attention_rate: float | None = None,
) -> Recipe:
    """What config.json describes, with the given options, as in `llama.recipe`.

    `rate` drops of the embedding and of branches, `resid_pdrop` by default.
    """
    refuse(config, SUPPORTED)
    chosen = choose(HEADS, config, head, over)
    settings = _settings(config)
    given = dict(rate=rate, attention_rate=attention_rate)
    settings |= {name: float(own) for name, own in given.items() if own is not None}
    options = dict(over=chosen.over, rules=rules, remat=remat)
    model = gpt2(**settings, tied=chosen.tied, **options, dtype=dtype)
    options |= {name: settings[name] for name in given} | dict(head=head)
    named = layout(HEADS, BODY, settings["depth"], "transformer", chosen, head, MASKS)
    return Recipe(
        model,
        named._replace(fused=FUSED),
        leaves(model, config, chosen),
        options | {"dtype": jnp.dtype(dtype).name},
        chosen.named if chosen.kept else HEADS.body,
        bare=not chosen.kept,
        positions=settings["positions"],
    )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `gpt2` that config.json decides."""
    width, heads = whole(config, "n_embd"), whole(config, "n_head")
    if width % heads:
        raise Unsupported(
            f"config.json: n_embd {width} is no multiple of n_head {heads}"
        )
    own = config.get("n_inner") is not None
    rate = number(config, ["resid_pdrop"], 0.1)
    if (first := number(config, ["embd_pdrop"], 0.1)) != rate:
        raise Unsupported(
            f"config.json: embd_pdrop is {first}, supported is resid_pdrop's {rate}"
        )
    return dict(
        vocabulary=whole(config, "vocab_size"),
        width=width,
        depth=whole(config, "n_layer"),
        heads=heads,
        hidden=whole(config, "n_inner") if own else 4 * width,
        positions=whole(config, "n_positions"),
        epsilon=number(config, ["layer_norm_epsilon"], 1e-5),
        activation=choice(config, "activation_function", ACTIVATIONS, "gelu_new"),
        rate=rate,
        attention_rate=number(config, ["attn_pdrop"], 0.1),
    )


READERS: Mapping[str, Reader] = {
    "gpt2": Reader(recipe, partial(architecture, HEADS), ("over",))
}
"""`model_type` -> reader."""
