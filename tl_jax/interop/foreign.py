"""What models of other libraries share: the record, and checks of their patches."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from tl_jax.models.head import head
from tl_jax.nn.patches import patched
from tl_jax.transfer import fold
from tl_jax.tree import nearest, no_match, sites
from tl_jax.types import Key, Model, Outputs, Params, Plan, Stats, Transfer

TRAINS = ("train", "training", "is_training")
"""Arguments that modules use for "this is training"."""


class Foreign(NamedTuple):
    """A module of another library as a `Model`, with the way back."""

    model: Model
    load: Callable[..., tuple[Params, Stats]]
    """What the library holds -> parameters as nested dicts of sites, statistics."""
    dump: Callable[[Params, Stats], Any]
    """The inverse; raises where patches are left: `fold` them first."""
    check: Transfer
    """Changes nothing; raises for patches that the module can't serve. As the last of
    a `chain` it finds them when the plan is built, else the first `apply` does."""


Points = Mapping[str, tuple[str, ...]]
"""Path of a site -> the points that are served there."""


def check_patches(params: Params, points: Points, what: str) -> None:
    """Raise ValueError for a patch that nobody would read, with path and points."""
    for path, site in sites(params).items():
        for name, patch in site.get("patch", {}).items():
            at = f"{path}/patch/{name}" if path else f"patch/{name}"
            if not path and patch.point == "root":
                continue
            if path not in points:
                near = ", ".join(nearest(path, points))
                raise ValueError(
                    f"{at!r}: {what} calls no module at {path!r}; nearest: {near}"
                )
            if patch.point not in points[path]:
                raise ValueError(
                    f"{at!r}, a {type(patch).__name__}, has the point "
                    f"{patch.point!r}; {what} serves "
                    f"{', '.join(points[path]) or 'none'} there"
                )


def checker(points: Points, what: str) -> Transfer:
    """The `check` of a `Foreign`."""

    def transfer(key: Key, plan: Plan) -> Plan:
        check_patches(plan.params, points, what)
        return plan

    return transfer


def refuse_patches(params: Params, what: str) -> None:
    """Raise ValueError where a patch is left, with paths, types and points."""
    left = [
        f"{path}/patch/{name}".lstrip("/")
        + f" ({type(patch).__name__} at {patch.point})"
        for path, site in sites(params).items()
        for name, patch in site.get("patch", {}).items()
    ]
    if left:
        raise ValueError(
            f"{what} takes no patches but those that fold; left: {', '.join(left)}"
        )


def folded(params: Params, what: str) -> Params:
    """The parameters with every patch absorbed, in the graph.

    Raises ValueError with the paths of those that can't be.
    """
    plain = fold(Plan(params, jax.tree.map(lambda _: 0.0, params), {})).params
    refuse_patches(plain, f"{what} is called as it is and")
    return plain


def folding(what: str) -> Transfer:
    """The `check` of a `Foreign` whose patches are folded."""

    def transfer(key: Key, plan: Plan) -> Plan:
        jax.eval_shape(lambda params: folded(params, what), plan.params)
        return plan

    return transfer


def as_outputs(
    result: Any, read: Callable[[Any], Outputs] | None, params: Params, own: bool
) -> Outputs:
    """Outputs of what a module returned, and of a head that was added to it.

    Without `read` an array [B ... D] is both features and logits. `own` says that the
    module itself has a `head`.
    """
    outputs = result if read is None else read(result)
    if isinstance(outputs, jax.Array):
        outputs = Outputs(outputs, outputs)
    if not isinstance(outputs, Outputs):
        raise TypeError(
            f"the module returns {jax.tree.structure(outputs)}, expected one array "
            "[B ... D]; give read=lambda result: Outputs(...)"
        )
    if own or "head" not in params:
        return outputs
    settings = dict(rate=0.0, activation="relu", key=None)
    return outputs._replace(logits=head(params["head"], outputs.features, **settings))


def has_point(site: Params, *points: str) -> bool:
    """True if a patch of the site stands at one of the points."""
    return any(patch.point in points for patch in site.get("patch", {}).values())


def branch(site: Params, value: Any, x: Any, key: Key | None, path: str) -> Any:
    """What patches at `branch` make of a module's result.

    Raises TypeError for a module that returns more than one array.
    """
    if not has_point(site, "output", "branch"):
        return value
    if not isinstance(value, jax.Array):
        raise TypeError(
            f"{path!r} returns {jax.tree.structure(value)}, but patches at its output "
            "or branch map one array: graft them at a module that returns one"
        )
    return patched("branch", site, value, x=x, key=key).astype(value.dtype)


def by_name(module: Any, inputs: Mapping[str, Any]) -> Callable:
    """The default `call`: fields as arguments by name, one alone as the first.

    Raises `NoMatch` for a field that the module does not take.
    """
    known = inspect.signature(module.__call__).parameters
    free = any(p.kind == p.VAR_KEYWORD for p in known.values())
    single = len(inputs) == 1
    for name in () if single or free else inputs:
        if name not in known:
            raise no_match(f"{type(module).__name__}: field", name, known)

    def call(own: Any, inputs: Mapping[str, Any], train: bool) -> Any:
        flags = {name: train for name in TRAINS if name in known}
        for name in ("deterministic", "use_running_average"):
            if name in known:
                flags[name] = not train
        if single:
            return own(*inputs.values(), **flags)
        return own(**inputs, **flags)

    return call
