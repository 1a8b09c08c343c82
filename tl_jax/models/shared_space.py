"""Several encoders, of inputs of other kinds, into one space with one head."""

from collections.abc import Mapping

from tl_jax.models.head import head
from tl_jax.nn import init_dense
from tl_jax.nn.dense import keys
from tl_jax.nn.patches import expand
from tl_jax.tree import stable_key
from tl_jax.types import Key, Model, Outputs, Params, Stats


def shared_space(
    encoders: Mapping[str, Model], *, classes: int | None = None, rate: float = 0.0
) -> Model:
    """The encoder whose input column is there, then a head that all share.

    `encoders` by input column: {"features": ..., "image": ...}: rows of each domain
    have one of the columns, so source and target may live in different spaces. All
    encoders end in features of one width; their own heads are not used. As a player of
    `adapted(..., joint=False)`, every term of adaptation sees both domains in the
    shared space, and a plan names its parts: `encoders/<column>/...` and `head`.

    Raises ValueError for widths that differ, and for inputs that have none or several
    of the columns.
    """
    widths = {column: model.width for column, model in encoders.items()}
    if len(set(widths.values())) != 1:
        raise ValueError(
            f"encoders end in features of {widths}, expected one width for one space"
        )
    width = next(iter(widths.values()))

    def init(key: Key) -> tuple[Params, Stats]:
        parts, stats = {}, {}
        for column, model in encoders.items():
            own, moved = model.init(stable_key(key, column))
            parts[column] = {name: site for name, site in own.items() if name != "head"}
            stats |= {f"encoders/{column}/{at}": node for at, node in moved.items()}
        params: Params = {"encoders": parts}
        if classes is not None:
            params["head"] = init_dense(stable_key(key, "head"), width, classes, 0.02)
        return params, stats

    def apply(params, stats, inputs, *, key=None, norm="running"):
        found = [column for column in encoders if column in inputs]
        if len(found) != 1:
            raise ValueError(
                f"inputs have {sorted(inputs)}, of which the encoders read {found}; "
                f"expected exactly one of {list(encoders)}"
            )
        (column,), params = found, expand(params)
        prefix, (k_in, k_head) = f"encoders/{column}/", keys(key, 2)
        own = {
            at.removeprefix(prefix): node
            for at, node in stats.items()
            if at.startswith(prefix)
        }
        outputs, moved = encoders[column].apply(
            params["encoders"][column], own, inputs, key=k_in, norm=norm
        )
        stats = {**stats, **{prefix + at: node for at, node in moved.items()}}
        logits = None
        if "head" in params:
            how = dict(rate=rate, activation="relu", key=k_head)
            logits = head(params["head"], outputs.features, **how)
            logits = logits.astype(outputs.features.dtype)
        return Outputs(outputs.features, logits, outputs.tokens, outputs.hidden), stats

    return Model(init, apply, width)
