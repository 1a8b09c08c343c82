"""Penalties of fine-tuning; `supervised` adds any of them to its loss."""

from collections.abc import Sequence

from tl_jax.algorithms.penalised import Penalty, Seen
from tl_jax.losses.regularisers import (
    feature_distance,
    spectral_shrinkage,
    squared_distance,
)
from tl_jax.losses.supervised import cross_entropy
from tl_jax.nn import dense
from tl_jax.transfer import expected_l0, fusion_penalty
from tl_jax.transfer.low_rank import orthogonality
from tl_jax.tree import (
    compile_rule,
    get,
    map_with_path,
    matches,
    no_match,
    paths,
    sites,
)
from tl_jax.types import Array, Params, Plan

HEAD = r"head/.*"
"""The leaves of a new head."""


def l2_sp(
    strength: float = 0.1, head_strength: float = 0.01, *, head: str = HEAD
) -> Penalty:
    """Draw the body to its start and the head to zero (Li et al., 2018).

    strength / 2 sum |w - w0|^2 + head_strength / 2 sum |v|^2

    over the moving leaves w of the body and v that match `head`. It takes the place
    of weight decay: set that to 0. What stood frozen at first begins where it opens.
    Raises ValueError for a negative strength, `NoMatch` for a rule without a match.
    """
    _positive("l2_sp", strength=strength, head_strength=head_strength)

    def value(seen: Seen) -> Array:
        body, top = _split(seen.moving, head)
        begun, _ = _split(seen.start, head)
        near = strength * squared_distance(body, begun)
        return near + head_strength * squared_distance(top)

    return Penalty(value, True, _matching(head))


def delta(
    strength: float = 0.01,
    head_strength: float = 0.01,
    *,
    head: str = HEAD,
    layers: Sequence[int] = (),
    attention: Sequence[Array] | None = None,
) -> Penalty:
    """Keep the features that the model began with (Li et al., 2019).

    strength mean_n d(f(x_n), f0(x_n)) + head_strength / 2 sum |v|^2

    with d of `feature_distance` over the hidden states, or those of `layers` (0 is the
    embedding's, -1 the last), and v the moving leaves that match `head`. f0 is the
    model at its start, without dropout and by the statistics it then had: a second
    forward pass a step. `attention` holds weights [D] of each layer's channels, which
    the paper takes from what the loss loses without a channel. Raises as `l2_sp`.
    """
    _positive("delta", strength=strength, head_strength=head_strength)

    def value(seen: Seen) -> Array:
        maps, begun = _hidden(seen.outputs, layers), _hidden(seen.begun(), layers)
        mask = seen.stream["inputs"].get("mask")
        far = seen.mean(feature_distance(maps, begun, mask, attention))
        _, top = _split(seen.moving, head)
        return strength * far + head_strength * squared_distance(top)

    return Penalty(value, True, _matching(head))


def bss(strength: float = 1e-3, k: int = 1) -> Penalty:
    """Shrink what a batch's features hardly span (Chen et al., 2019).

    strength sum_{i <= k} s_{-i}^2, the k smallest singular values of the features
    [B D] (`spectral_shrinkage`), of each microbatch by itself where there are several.
    Raises ValueError for a negative strength or a k below 1.
    """
    _positive("bss", strength=strength)
    if k < 1:
        raise ValueError(f"bss: k is {k}, expected at least 1")

    def value(seen: Seen) -> Array:
        return strength * spectral_shrinkage(seen.outputs.features, k, seen.weight)

    return Penalty(value)


def co_tuning(strength: float = 2.3, *, site: str = "source") -> Penalty:
    """Let the old head go on learning, by what it says of the new classes.

    strength mean_n -sum_s q(s | y_n) log p(s | x_n)   (You et al., 2020)

    p is the softmax of the kept head over the features, q the row of its `relation`
    [C S]: `transfer.keep_head` makes the site, `estimators.category_relation` the rows.
    Labels [B] int, or [B C] shares. Raises `NoMatch` for a plan without that site,
    and ValueError for one whose relation moves.
    """
    _positive("co_tuning", strength=strength)

    def value(seen: Seen) -> Array:
        own = get(seen.params, site)
        logits = dense(own, seen.outputs.features)
        labels, relation = seen.stream["labels"], own["relation"]
        rows = labels @ relation if labels.ndim == 2 else relation[labels]
        return strength * seen.mean(cross_entropy(logits, rows))

    def check(plan: Plan) -> None:
        if site not in sites(plan.params):
            raise no_match("co_tuning: site", site, sites(plan.params))
        if get(plan.rates, site)["relation"]:
            raise ValueError(
                f"co_tuning: {site}/relation moves, but it is measured, not learned; "
                f"freeze '{site}/relation' after what opened it"
            )

    return Penalty(value, check=check)


def orthogonal(strength: float = 0.5, *, squared: bool = False) -> Penalty:
    """Keep the factors of AdaLoRA's patches orthonormal (Zhang et al., 2023).

    strength * `transfer.orthogonality`, 0.5 times the mean norm as in PEFT. Raises
    ValueError for a negative strength.
    """
    _positive("orthogonal", strength=strength)
    return Penalty(lambda seen: strength * orthogonality(seen.params, squared=squared))


def sparse_diffs(strength: float = 1e-7) -> Penalty:
    """Close the gates of `diff_pruning` (Guo et al., 2021).

    strength * `transfer.expected_l0`: the expected number of open coordinates, so that
    0.1 over the number of the kernels' own is a tenth when all are open. Raises
    ValueError for a negative strength.
    """
    _positive("sparse_diffs", strength=strength)
    return Penalty(lambda seen: strength * expected_l0(seen.params))


def near_identity(strength: float = 0.01) -> Penalty:
    """Keep the values of AdapterFusion near the identity (Pfeiffer et al., 2021).

    `transfer.fusion_penalty`: strength sum (V - I)^2. Raises ValueError for a negative
    strength.
    """
    _positive("near_identity", strength=strength)
    return Penalty(lambda seen: fusion_penalty(seen.params, strength))


def _positive(name: str, **strengths: float) -> None:
    for field, value in strengths.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}: {field} is {value}, expected 0 or more")


def _matching(head: str):
    """The check that a rule for the head matches something; the body may be whole."""
    compile_rule(head)

    def check(plan: Plan) -> None:
        matches(head, paths(plan.params), "penalty: head")

    return check


def _split(tree: Params, head: str) -> tuple[Params, Params]:
    """(leaves that don't match `head`, those that do), with holes."""
    pattern = compile_rule(head)

    def kept(inside: bool) -> Params:
        return map_with_path(
            lambda path, leaf: (
                leaf if bool(pattern.fullmatch(path)) == inside else None
            ),
            tree,
        )

    return kept(False), kept(True)


def _hidden(outputs, layers: Sequence[int]) -> list[Array]:
    """The hidden states of some layers, or all; raises where there are none."""
    if outputs.hidden is None:
        raise ValueError("delta: the model gives no hidden states to compare")
    count = len(outputs.hidden)
    if wrong := [i for i in layers if not -count <= i < count]:
        raise ValueError(
            f"delta: there is no layer {wrong[0]}; the model has {count}, 0 to "
            f"{count - 1}, or {-count} to -1 from the end"
        )
    return [outputs.hidden[i] for i in layers or range(count)]
