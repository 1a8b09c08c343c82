"""PROMPT_TUNING, PREFIX_TUNING and P_TUNING files."""

import jax.numpy as jnp

from tl_jax.interop.peft.codec import Adapter, Codec, Taken, Written, array
from tl_jax.interop.peft.settings import setting
from tl_jax.transfer.prompts import Prefix, Prompt, Shift
from tl_jax.types import Patch

TENSOR = "prompt_embeddings"
EMBED = "embed"


def read_prompt(adapter: Adapter) -> dict[str, Patch]:
    """The words in front, at our `embed`; a P-tuning's network is never in a file."""
    _check_submodules(adapter)
    width = adapter.kernels[f"{EMBED}/tokens"][1]
    own = Taken("base_model", adapter.shared)
    count = setting(adapter.config, "num_virtual_tokens", None, int)
    found = Prompt(own.take(TENSOR, (count, width)))
    own.done()
    return {EMBED: found}


def write_prompt(nodes: dict[str, Patch]) -> Written:
    """One prompt."""
    own = nodes[EMBED]
    count, width = own.tokens.shape
    config = {"num_virtual_tokens": count, "token_dim": width}
    config |= {"num_transformer_submodules": 1}
    return Written(config, {}, {TENSOR: array(own.tokens)})


def read_prefix(adapter: Adapter) -> dict[str, Patch]:
    """Keys and values by block, and positions that begin behind them, as PEFT's do."""
    _check_submodules(adapter)
    own = Taken("base_model", adapter.shared)
    blocks = _blocks(adapter)
    widths = [
        adapter.kernels[f"{site}/{part}"][1]
        for site in blocks
        for part in ("key", "value")
    ]
    count = setting(adapter.config, "num_virtual_tokens", None, int)
    rows = own.take(TENSOR, (count, sum(widths)))
    own.done()
    ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
    parts = jnp.split(rows, ends, axis=1)
    found: dict[str, Patch] = {
        site: Prefix(parts[2 * i], parts[2 * i + 1]) for i, site in enumerate(blocks)
    }
    return found | {EMBED: Shift(len(rows))}


def _blocks(adapter: Adapter) -> list[str]:
    """Our attentions from the first to the last."""
    names = [k.split("/") for k in adapter.kernels if k.endswith("/attention/key")]
    found = sorted(n for n in names if n[0] == "blocks")
    return [
        f"blocks/{number}/attention"
        for number in sorted(int(name[1]) for name in found)
    ]


def write_prefix(nodes: dict[str, Patch]) -> Written:
    """All blocks' keys and values in a row.

    Raises ValueError where blocks lack a prefix, lengths differ or positions are not
    shifted, which PEFT always does.
    """
    nodes = dict(nodes)
    shift = nodes.pop(EMBED, None)
    sites = sorted(nodes, key=lambda site: int(site.split("/")[1]))
    lengths = {len(own.keys) for own in nodes.values()}
    if len(lengths) != 1:
        raise ValueError(f"prefixes of lengths {sorted(lengths)}, expected one length")
    count = lengths.pop()
    if shift is None or shift.count != count:
        raise ValueError(
            f"PEFT's positions begin behind the prefix, at {count}, but the plan's "
            f"are moved up by {0 if shift is None else shift.count}: train with "
            "prefix(..., shift=True)"
        )
    rows = [array(x) for s in sites for x in (nodes[s].keys, nodes[s].values)]
    if len({row.shape[1] for row in rows}) != 1:
        raise ValueError(
            "PEFT gives keys and values of all blocks one width, but the plan has "
            f"{sorted({row.shape[1] for row in rows})}"
        )
    config = {
        "num_virtual_tokens": count,
        "token_dim": rows[0].shape[1],
        "num_layers": len(sites),
        "num_transformer_submodules": 1,
        "prefix_projection": False,
    }
    return Written(config, {}, {TENSOR: jnp.concatenate(rows, axis=1)})


def _check_submodules(adapter: Adapter) -> None:
    count = adapter.config.get("num_transformer_submodules")
    if count not in (None, 1):
        raise ValueError(
            f"adapter_config.json: num_transformer_submodules is {count}, expected 1: "
            "prompts of encoders with decoders are not read"
        )


SIZES = frozenset(
    {
        *("num_virtual_tokens", "token_dim", "num_layers", "num_attention_heads"),
        "num_transformer_submodules",
    }
)
ENCODER = {"encoder_hidden_size", "encoder_num_layers", "encoder_dropout"}
PROMPT = Codec(
    (Prompt,),
    SIZES
    | {
        *("prompt_tuning_init", "prompt_tuning_init_text"),
        *("tokenizer_name_or_path", "tokenizer_kwargs"),
    },
    read_prompt,
    write_prompt,
)
P_TUNING = Codec(
    (Prompt,),
    SIZES | ENCODER | {"encoder_reparameterization_type"},
    read_prompt,
    write_prompt,
)
PREFIX = Codec(
    (Prefix, Shift),
    SIZES | ENCODER | {"prefix_projection"},
    read_prefix,
    write_prefix,
)
