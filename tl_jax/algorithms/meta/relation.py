"""Relation networks: what is near is learned."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.algorithms.meta.classes import check_ways, masked, memberships, there
from tl_jax.algorithms.meta.heads import of_player
from tl_jax.algorithms.meta.learner import (
    Embedded,
    Learner,
    Norm,
    Seen,
    check_norm,
    kept,
    on_query,
    on_support,
)
from tl_jax.types import Array, Model, Outputs, Params, Stream


class Related(NamedTuple):
    """A fitted relation network."""

    model: Embedded
    module: Embedded
    sums: Array
    """[C ...] a class's features, added up."""
    present: Array


def relation(
    model: Model,
    ways: int,
    module: Model,
    *,
    maps: bool = False,
    norm: Norm = "transductive",
    name: str = "model",
    module_name: str = "relation",
) -> Learner:
    """Logits g(sum_i w_i [y_i = k] f(x_i), f(x)) of a learned g (Sung et al., 2018).

    The relation score is their sigmoid; its loss is `relation_error`. g is the player
    `module_name`: with `maps` it reads the model's last map and a class's, joined
    along the channels, as `image` (`models.relation_module`); else both feature
    vectors as `features` [B 2D] (`models.mlp`). A class without a support row gets
    -1e9, yet its pairs are among those whose statistics a batch norm of g takes.
    `norm`: whose statistics batch norm uses, in both; under "support" g's are those of
    the support set's own pairs. Raises `NoMatch` for an unknown norm and a missing
    player, ValueError for fewer than two ways and for maps of a model without any.
    """
    check_ways(ways)
    check_norm(norm)

    def read(outputs: Outputs) -> Array:
        if not maps:
            return outputs.features
        if outputs.hidden is None or outputs.hidden[-1].ndim != 4:
            raise ValueError("maps: the model's last hidden state is no map [B H W C]")
        return outputs.hidden[-1]

    def fit(params_of: Mapping[str, Params], support: Stream, seen: Seen) -> Related:
        params, own = of_player(params_of, name), of_player(params_of, module_name)
        member = memberships(support, ways)
        outputs, stats = on_support(
            model, params, seen.stats[name], support["inputs"], norm, seen
        )
        x, module_stats = read(outputs), seen.stats[module_name]
        sums = jnp.einsum("bc,b...->c...", member, x, precision="highest")
        if norm == "support":
            pairs = paired(sums, x, maps)
            _, module_stats = on_support(module, own, module_stats, pairs, norm, seen)
        fitted = Embedded(params, stats), Embedded(own, module_stats)
        return Related(*fitted, sums, there(member))

    def predict(fitted: Related, inputs: Mapping[str, Any], seen: Seen) -> tuple:
        outputs, moved = on_query(model, *fitted.model, inputs, norm, seen)
        pairs = paired(fitted.sums, read(outputs), maps)
        scores, module_moved = on_query(module, *fitted.module, pairs, norm, seen)
        logits = masked(scores.logits.reshape(-1, ways), fitted.present)
        both = seen._replace(stats=kept(name, moved, norm, seen))
        stats = kept(module_name, module_moved, norm, both)
        return outputs._replace(logits=logits), stats

    return Learner(fit, predict, None)


def paired(sums: Array, x: Array, maps: bool) -> dict[str, Array]:
    """Inputs [B C ...] of every class beside every query, as rows. [C ...], [B ...]."""
    shape = len(x), *sums.shape
    both = jnp.broadcast_to(sums, shape), jnp.broadcast_to(x[:, None], shape)
    rows = jnp.concatenate(both, -1)
    return {"image" if maps else "features": rows.reshape(-1, *rows.shape[2:])}


def relation_error(outputs: Outputs, stream: Stream) -> Array:
    """sum_k (sigmoid(logit_k) - [y = k])^2, the paper's loss (Sung et al., 2018).

    An absent class costs nothing. logits [B C], labels [B] -> [B].
    """
    scores = jax.nn.sigmoid(outputs.logits)
    target = jax.nn.one_hot(stream["labels"], scores.shape[-1], dtype=scores.dtype)
    return jnp.square(scores - target).sum(-1)
