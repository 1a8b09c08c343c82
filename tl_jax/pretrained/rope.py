"""What a config says of rotary angles: their base, and what slows them."""

from collections.abc import Mapping
from typing import Any

from tl_jax.nn.rotary import Scaling
from tl_jax.pretrained.family import Unsupported, whole
from tl_jax.pretrained.files import did_you_mean

BASE = 10000.0
LENGTH = "max_position_embeddings"
ORIGINAL = "original_max_position_embeddings"
KINDS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
"""`rope_type` -> the numbers that it needs."""
PLAIN = {"partial_rotary_factor": 1.0}
"""What may stand beside them: it says that all of a head is turned."""


def angles_of(config: Mapping[str, Any]) -> tuple[float, Scaling | None]:
    """(base, scaling) of `rope_theta`, `rope_scaling` and `rope_parameters`.

    Raises `Unsupported` for angles that are scaled otherwise and for contradictions.
    """
    bases = {"rope_theta": config.get("rope_theta")}
    found = {}
    for field in ("rope_scaling", "rope_parameters"):
        inner = config.get(field)
        if inner is None:
            continue
        if not isinstance(inner, dict):
            raise Unsupported(
                f"config.json: {field} is {inner!r}, expected null or an object"
            )
        bases[f"{field}.rope_theta"] = inner.get("rope_theta")
        found[field] = _scaling(inner, field, config)
    if len(set(found.values())) > 1:
        raise Unsupported(f"config.json: {' and '.join(found)} differ: {found}")
    return _base(bases), next(iter(found.values()), None)


def _base(bases: Mapping[str, Any]) -> float:
    found = {name: value for name, value in bases.items() if value is not None}
    for name, value in found.items():
        _above(value, 1, name)
    if len(set(found.values())) > 1:
        shown = " but ".join(f"{name} is {value}" for name, value in found.items())
        raise Unsupported(f"config.json: {shown}")
    return float(next(iter(found.values()), BASE))


def _scaling(
    inner: Mapping[str, Any], field: str, config: Mapping[str, Any]
) -> Scaling | None:
    kind = inner.get("rope_type", inner.get("type", "default"))
    if not isinstance(kind, str) or kind not in KINDS:
        hint = did_you_mean(str(kind), KINDS)
        raise Unsupported(f"config.json: {field} has rope_type {kind!r}; {hint}")
    if inner.get("type", kind) != kind:
        named = inner["type"]
        raise Unsupported(
            f"config.json: {field} has rope_type {kind!r}, type {named!r}"
        )
    known = {"rope_theta", "rope_type", "type", *KINDS[kind], *PLAIN}
    known |= {ORIGINAL} if kind == "llama3" else set()
    for name, value in inner.items():
        if value is not None and name not in known:
            raise Unsupported(
                f"config.json: {field} has {name} {value!r}, which rope_type {kind!r} "
                f"does not take; {did_you_mean(name, sorted(known))}"
            )
        if name in PLAIN and value not in (None, PLAIN[name]):
            raise Unsupported(
                f"config.json: {field} has {name} {value!r}, supported is {PLAIN[name]}"
            )
    numbers = [_above(inner.get(name), 0, f"{field}.{name}") for name in KINDS[kind]]
    if kind != "llama3":
        return Scaling(kind, *numbers) if numbers else None
    factor, low, high = numbers
    if high <= low:
        raise Unsupported(
            f"config.json: {field} has high_freq_factor {high}, expected above "
            f"low_freq_factor {low}"
        )
    given = inner if inner.get(ORIGINAL) is not None else {ORIGINAL: config.get(LENGTH)}
    return Scaling(kind, factor, low, high, whole(given, ORIGINAL))


def _above(value: Any, least: float, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= least:
        raise Unsupported(
            f"config.json: {name} is {value!r}, expected a number above {least}"
        )
    return float(value)
