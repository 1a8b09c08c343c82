"""What of the base moved beside an adapter: biases, norms, heads, whole modules."""

from typing import Any

import numpy as np

from tl_jax.interop.peft.codec import Tensors, array
from tl_jax.interop.peft.fused import parts_of, whole_of
from tl_jax.interop.peft.kinds import BIASES
from tl_jax.interop.peft.modules import Modules, bare
from tl_jax.pretrained.names import Fused, to_theirs
from tl_jax.tree import diff, flatten, get
from tl_jax.types import Plan, Pretrained

HEADS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
"""Tasks whose head PEFT always takes from the adapter."""


def moved_beside(
    kind: str, modules: Modules, plan: Plan, pretrained: Pretrained, targets: set[str]
) -> tuple[Tensors, dict[str, Any]]:
    """What moved beside the patches: (the file's name -> array, fields of the config).

    The name has its wrapper: `base_layer` of adapted modules, `ln_tuning_layers`.
    `targets` are the modules that have a patch. Raises ValueError for what PEFT saves
    neither as a bias nor as a whole module.
    """
    cut = modules.recipe.layout.fused
    own = flatten(bare(plan.params))
    moved = set(diff(bare(plan.params), pretrained.params))
    names = {name.ours: theirs for theirs, name in modules.leaves.items()}
    if strange := sorted(moved - names.keys()):
        raise ValueError(f"{strange[0]} moved, but no tensor of the base is that")
    by_module = {p: names[p].rpartition(".")[0] for p in own if p in names}
    head = {p for p in own if p.startswith("head/")}
    if modules.task in HEADS:
        moved |= head
    saved, bias = _kept(kind, modules, moved, by_module, targets)
    saved = {p for m in saved for p in parts_of(whole_of(m, cut), cut)}
    held: dict[str, list[tuple[str, np.ndarray]]] = {}
    for path, module in by_module.items():
        every = path.endswith("/bias") and (
            (bias == "all" and module not in saved)
            or (bias != "none" and module in targets)
        )
        if module in saved or every:
            theirs = to_theirs(np.asarray(own[path]), modules.leaves[names[path]].turn)
            wrap = "base_layer." if module in targets else ""
            if kind == "LN_TUNING" and path not in head:
                wrap = "ln_tuning_layers."
            part = names[path].rpartition(".")[2]
            name = f"{modules.full(whole_of(module, cut))}.{wrap}{part}"
            held.setdefault(name, []).append((module, array(theirs)))
    found = {name: _together(parts, cut) for name, parts in held.items()}
    return found, _saved_fields(kind, modules, plan, saved, head, bias, by_module)


def _kept(
    kind: str,
    modules: Modules,
    moved: set[str],
    by_module: dict[str, str],
    targets: set[str],
) -> tuple[set[str], str]:
    """(modules that are saved whole, PEFT's word for the biases that are)."""
    kernels = {by_module[p] for p in moved if not p.endswith("/bias")}
    if below := sorted(kernels & targets):
        raise ValueError(
            f"{modules.full(below[0])}: its weights moved and it has a patch, which "
            "PEFT holds beside the base's own: freeze them, or fold the patch"
        )
    biases = {p for p in moved if by_module[p] not in kernels}
    adapted = {p for p in biases if by_module[p] in targets}
    bias = "none"
    if kind in BIASES and adapted:
        bias = BIASES[kind] if adapted == biases else "all"
    if bias == "none" and adapted:
        raise ValueError(
            f"{sorted(adapted)[0]} moved below its patch, but {kind} trains no biases"
        )
    saved = {by_module[p] for p in moved - biases}
    if bias != "all":
        saved |= {by_module[p] for p in biases - adapted}
    return saved, bias


def _together(held: list[tuple[str, np.ndarray]], cut: Fused | None) -> np.ndarray:
    """A tensor of a module, its parts side by side where it has several."""
    if len(held) == 1:
        return held[0][1]
    by_part = dict(held)
    order = parts_of(whole_of(held[0][0], cut), cut)
    return np.concatenate([by_part[part] for part in order], axis=-1)


def _saved_fields(
    kind: str,
    modules: Modules,
    plan: Plan,
    saved: set[str],
    head: set[str],
    bias: str,
    by_module: dict[str, str],
) -> dict[str, Any]:
    """`modules_to_save`, `bias`, and the targets of LN_TUNING."""
    heads = {by_module[p] for p in head if p in by_module}
    fields: dict[str, Any] = {"bias": bias} if kind in BIASES else {}
    if kind == "LN_TUNING":
        norms = sorted(saved - heads)
        for module in norms:
            if "scale" not in get(plan.params, modules.sites[module]):
                raise ValueError(
                    f"{modules.full(module)} moved, and no patch is there: expected "
                    "norms alone, beside the head, which is PEFT's LN_TUNING"
                )
        if not norms:
            raise ValueError("the plan has no patch and no norm that moved")
        fields["target_modules"] = [modules.full(module) for module in norms]
        saved &= heads
    cut = modules.recipe.layout.fused
    whole = sorted({modules.full(whole_of(module, cut)) for module in saved})
    return fields | {"modules_to_save": whole or None}
