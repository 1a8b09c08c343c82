"""Encoder-decoders of T5's shape (Raffel et al., 2020).

Norms by the root mean square before each branch, relative positions as a bias of the
scores, which nothing divides, no biases of layers, and one table of words for both
sides.
"""

import jax
import jax.numpy as jnp

from tl_jax.models.llama import Over
from tl_jax.models.t5_cached import decoder_of
from tl_jax.models.t5_sides import Style, decode, encode, score
from tl_jax.nn import dense, expand, normal, own_tokens
from tl_jax.nn.dense import keys
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.tree import one_of
from tl_jax.types import Array, Key, Model, Outputs, Params, Stats


def t5(
    *,
    vocabulary: int,
    width: int,
    depth: int,
    heads: int,
    hidden: int,
    decoder_depth: int | None = None,
    head_width: int | None = None,
    buckets: int = 32,
    most: int = 128,
    gated: bool = False,
    activation: str = "relu",
    tied: bool = True,
    scaled: bool | None = None,
    epsilon: float = 1e-6,
    rate: float = 0.0,
    first: int = 0,
    over: Over = "vocabulary",
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
) -> Model:
    """An encoder, and a decoder whose tokens see those up to themselves and the text.

    Reads `tokens` [B S], `mask` [B S] (1: a token, 0: padding; all ones if it is
    absent) and, for the decoder, `decoder_tokens` [B T] and `decoder_mask`. Positions
    are places in the row, so padding in the midst counts. Without decoder tokens the
    encoder alone runs.

    `features` are the mean of the encoder's real tokens behind its norm (Ni et al.,
    2021), whether or not a decoder runs: what probes and heads over a text read.
    `tokens` are the decoder's last states [B T D] where it runs, else the encoder's;
    `hidden` the encoder's embedding and every block's output [B S D], then the
    decoder's [B T D]. `logits` [B T V] score each decoder token's successor: by the
    table of words with `tied`, else by `head`; the states are first scaled by
    width^-0.5 if `scaled`, by default where tied. `over="sequence"`: a `head` reads
    the features instead.

    `head_width` is by default width / heads, `decoder_depth` the depth, 0 for an
    encoder alone. There are `buckets` of distances, those from `most` on share one.
    What `decode` writes begins with the token `first`. `rate` is dropout, everywhere.
    `dtype` is what products compute in, `rules` how they are differentiated
    (`nn.rules`); `remat` recomputes each block in the backward pass. A patch at
    `words` or `sequence` of `embed` is the encoder's: its tokens are seen by encoder
    and decoder and are no part of what is returned.

    Raises ValueError for sizes that don't divide, `NoMatch` for unknown choices.
    """
    check_rules(rules)
    one_of("over", over, ("vocabulary", "sequence"))
    size = head_size(width, heads, head_width)
    later = depth if decoder_depth is None else decoder_depth
    scale = width**-0.5 if (tied if scaled is None else scaled) else 1.0
    wide = jnp.promote_types(dtype, jnp.float32)
    whole = dict(dtype=dtype, rules=rules, remat=remat, tied=tied, scale=scale)
    style = Style(heads, most, activation, epsilon, rate, **whole)

    def init(key: Key) -> tuple[Params, Stats]:
        k_table, k_encoder, k_decoder, k_head = jax.random.split(key, 4)
        inner = (width, heads, size, hidden, buckets, gated)
        table = normal(k_table, (vocabulary, width), 1.0)
        params: Params = {"embed": {"tokens": {"embedding": table}}}
        params["encoder"] = init_side(k_encoder, depth, ("attention",), *inner)
        if later:
            layers = ("attention", "cross")
            params["decoder"] = init_side(k_decoder, later, layers, *inner)
        if over == "vocabulary" and later and not tied:
            kernel = normal(k_head, (width, vocabulary), width**-0.5)
            params["head"] = {"kernel": kernel}
        return params, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        k_encoder, k_decoder, k_head, k_root = keys(key, 4)
        params = expand(params, k_root)
        coded = encode(style, params, inputs, k_encoder)
        states, tokens, mask = own_tokens(
            inputs["tokens"].shape[1], coded.states, coded.tokens, coded.mask
        )
        found, logits, runs = mean_of(tokens, mask), None, "decoder_tokens" in inputs
        if runs:
            tokens, more = decode(style, params, inputs, coded, k_decoder)
            states = [*states, *more]
        if over == "vocabulary":
            logits = score(style, params, tokens, k_head) if runs else None
        elif "head" in params:
            how = dict(dtype=wide, key=k_head, rules=rules)
            logits = dense(params["head"], found, **how)
        states = tuple(s.astype(wide) for s in states)
        return Outputs(found.astype(wide), logits, tokens.astype(wide), states), stats

    words = bool(later) and over == "vocabulary"
    return Model(init, apply, width, decoder_of(style, first) if words else None)


def mean_of(tokens: Array, mask: Array) -> Array:
    """The mean of the real tokens. [B T D], [B T] -> [B D], 0 where there is none."""
    shown = mask[..., None]
    wide = tokens.astype(jnp.promote_types(tokens.dtype, jnp.float32))
    return (wide * shown).sum(1) / jnp.maximum(shown.sum(1), 1)


def head_size(width: int, heads: int, head_width: int | None) -> int:
    """A head's width; raises ValueError if the heads don't divide the model's."""
    if head_width is None and width % heads:
        raise ValueError(f"width {width} is no multiple of {heads} heads")
    return width // heads if head_width is None else head_width


def init_side(
    key: Key,
    depth: int,
    looks: tuple[str, ...],
    width: int,
    heads: int,
    size: int,
    hidden: int,
    buckets: int,
    gated: bool,
) -> Params:
    """Blocks and last norm of one side; the table of distances is in block 0.

    Deviations are those of its authors: queries start sqrt(size) smaller, as no score
    is divided by it.
    """
    inner, narrow = heads * size, width**-0.5
    look = {
        "query": ((width, inner), (width * size) ** -0.5),
        "key": ((width, inner), narrow),
        "value": ((width, inner), narrow),
        "output": ((inner, width), inner**-0.5),
    }
    think = {"up": ((width, hidden), narrow), "down": ((hidden, width), hidden**-0.5)}
    think |= {"gate": ((width, hidden), narrow)} if gated else {}
    layers = {**dict.fromkeys(looks, look), "mlp": think}

    def block(key: Key) -> Params:
        made: Params = {}
        for k, (layer, sites) in zip(
            jax.random.split(key, len(layers)), layers.items(), strict=True
        ):
            ks = jax.random.split(k, len(sites))
            made[layer] = {
                name: {"kernel": normal(own, *sites[name])}
                for own, name in zip(ks, sites, strict=True)
            }
            made[f"norm_{layer}"] = {"scale": jnp.ones(width)}
        return made

    k_blocks, k_table = jax.random.split(key)
    each = jax.random.split(k_blocks, depth)
    blocks = {str(i): block(k) for i, k in enumerate(each)}
    table = normal(k_table, (buckets, heads), narrow)
    blocks["0"]["attention"]["relative"] = {"embedding": table}
    return {"blocks": blocks, "norm": {"scale": jnp.ones(width)}}
