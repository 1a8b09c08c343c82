"""adapter_config.json: what is understood, what must be off, and patterns."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tl_jax.pretrained.files import did_you_mean

CONFIG = "adapter_config.json"
OFF = (None, False, "", {}, [], 0, 0.0)
COMMON = frozenset(
    {
        *("peft_type", "task_type", "peft_version", "base_model_name_or_path"),
        *("revision", "inference_mode", "auto_mapping", "modules_to_save"),
        *("target_modules", "exclude_modules", "layers_to_transform"),
        *("layers_pattern", "bias", "fan_in_fan_out", "ensure_weight_tying"),
        *("init_weights", "megatron_core"),
    }
)
"""Fields that the tensors' names already tell, or that tell how training began."""


def check_fields(config: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise ValueError for a field that may change the function and is not known.

    One that is off (null, false, empty) is taken as not there.
    """
    for field, value in config.items():
        if field in COMMON or field in known or value in OFF:
            continue
        hint = did_you_mean(field, sorted(known))
        raise ValueError(
            f"{CONFIG}: {field} is {value!r}, which is not understood for peft_type "
            f"{config.get('peft_type')!r}, expected null; {hint}"
        )


def setting(config: Mapping[str, Any], field: str, default: Any, kind: type) -> Any:
    """A field of a kind; raises ValueError for another one."""
    value = config.get(field)
    if value is None:
        return default
    real = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not real or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{CONFIG}: {field} is {value!r}, expected a {kind.__name__}")
    return kind(value)


def by_pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """The value of the first pattern that a module's name ends with, as in PEFT."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def patterned(values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(the most common value, {module: value} of the others)."""
    usual = Counter(values.values()).most_common(1)[0][0]
    others = {m: v for m, v in values.items() if v != usual}
    return usual, others


def round_number(value: float) -> float | int:
    """A number from float32 as people write it: 16 for 16.000001."""
    near = round(value)
    if near and abs(value - near) <= 1e-6 * abs(value):
        return near
    return float(value)


def short_names(chosen: Sequence[str], known: Collection[str]) -> list[str]:
    """Targets for `target_modules`: last words where they mean the chosen alone.

    PEFT takes a module whose name is a target or ends with one, behind a dot.
    """
    wanted = set(chosen)
    found = set()
    for module in chosen:
        word = module.rpartition(".")[2]
        same = {m for m in known if m == word or m.endswith(f".{word}")}
        found.add(word if same <= wanted else module)
    return sorted(found)
