"""A plan as a folder that PEFT reads."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.interop.peft.codec import Codec, Tensors, Written, array
from tl_jax.interop.peft.kinds import BIASES, CODECS, PROMPTS
from tl_jax.interop.peft.modules import Modules, bare, modules_of
from tl_jax.interop.peft.reading import WEIGHTS, check_pooling
from tl_jax.interop.peft.settings import CONFIG, short_names
from tl_jax.pretrained import files
from tl_jax.pretrained.names import to_theirs
from tl_jax.transfer.low_rank import LoRA, as_lora
from tl_jax.transfer.prompts import Prefix, Prompt, PromptEncoder, plain
from tl_jax.transfer.surgery import unstack_layers
from tl_jax.tree import diff, flatten, get, sites
from tl_jax.types import Patch, Plan, Pretrained

HEADS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
"""Tasks whose head PEFT always takes from the adapter."""
ATTENTION = {"query", "key", "value"}
"""What makes a site an attention."""


def write(
    folder: str | os.PathLike,
    plan: Plan,
    pretrained: Pretrained,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a trained plan as a folder that PEFT loads; no torch is needed.

    `adapter_config.json` and `adapter_model.safetensors`, of one kind of patch: what
    `read` reads. PiSSA and OLoRA are written as the LoRA of twice the rank that they
    are beside the base itself, networks of prefixes and P-tuning as what they make.
    What else of the base has moved goes along: biases as PEFT's `bias`, whole modules
    and heads as `modules_to_save`, norms alone as LN_TUNING. Modules have the names of
    transformers 5.

    `pretrained` is the base, with the weights from before. PEFT loads the adapter onto
    that base with the plan's number of labels.

    Raises ValueError for patches of two kinds or of none that PEFT has, for a kernel
    that moved below its patch, and for what PEFT computes otherwise (positions of
    prefixes, classifiers of prompts); FileExistsError for a folder that is there.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists; overwrite=True replaces its adapter")
    plan = unstack_layers(plan)
    if _has(plan, lambda own: isinstance(own, LoRA) and own.residual):
        plan = as_lora(plan, pretrained.params)
    made = list(plan.params.get("patch", {}).values())
    plan = plain(plan)
    modules = modules_of(pretrained, plan.params)
    nodes = _nodes(modules, plan)
    kind = _kind(nodes, made)
    check_pooling(modules, any(isinstance(own, Prompt) for own in nodes.values()))
    _check_blocks(plan, nodes)
    written = CODECS[kind].write(nodes)
    whole, settings = _whole(kind, modules, plan, pretrained, set(nodes))
    config = _config(kind, modules, written, pretrained) | settings
    config |= _network(made)
    _save(folder, config, _named(kind, modules, written, whole))
    return folder


def _has(plan: Plan, test: Any) -> bool:
    every = (s.get("patch", {}).values() for s in sites(plan.params).values())
    return any(test(own) for patches in every for own in patches)


def _nodes(modules: Modules, plan: Plan) -> dict[str, Patch]:
    """Plain module, or our path where there is none -> its one patch."""
    by_site = {site: module for module, site in modules.sites.items()}
    found: dict[str, Patch] = {}
    for path, site in sites(plan.params).items():
        patches = site.get("patch", {})
        if len(patches) > 1:
            raise ValueError(
                f"{path} has patches {', '.join(sorted(patches))}, expected one: PEFT "
                "holds one adapter in a file"
            )
        for own in patches.values():
            found[by_site.get(path, path)] = own
    return found


def _kind(nodes: dict[str, Patch], made: list[Patch]) -> str:
    """The kind that holds all patches; raises ValueError with the classes."""
    if not nodes:
        return "LN_TUNING"
    classes = {type(own) for own in nodes.values()}
    if any(isinstance(own, PromptEncoder) for own in made):
        return "P_TUNING"
    for kind, codec in CODECS.items():
        if codec.kinds and classes <= set(codec.kinds):
            return kind
    raise ValueError(
        f"patches {', '.join(sorted(c.__name__ for c in classes))}, expected those of "
        f"one kind of PEFT: {'; '.join(_told(k, c) for k, c in CODECS.items())}"
    )


def _check_blocks(plan: Plan, nodes: dict[str, Patch]) -> None:
    """Raise where some attentions have no prefix, which PEFT gives to all."""
    own = [path for path, patch in nodes.items() if isinstance(patch, Prefix)]
    every = [p for p, site in sites(plan.params).items() if site.keys() >= ATTENTION]
    if own and len(own) < len(every):
        raise ValueError(
            f"prefixes at {len(own)} of {len(every)} attentions, expected all: {own}"
        )


def _told(kind: str, codec: Codec) -> str:
    return f"{kind} ({', '.join(c.__name__ for c in codec.kinds) or 'norms'})"


def _whole(
    kind: str, modules: Modules, plan: Plan, pretrained: Pretrained, targets: set[str]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(what moved beside the patches: the file's name -> array, fields of the config).

    The name has its wrapper: `base_layer` of adapted modules, `ln_tuning_layers`.
    """
    own = flatten(bare(plan.params))
    moved = set(diff(bare(plan.params), pretrained.params))
    names = {name.ours: theirs for theirs, name in modules.leaves.items()}
    if strange := sorted(moved - names.keys()):
        raise ValueError(f"{strange[0]} moved, but no tensor of the base is that")
    by_module = {p: names[p].rpartition(".")[0] for p in own if p in names}
    head = {p for p in own if p.startswith("head/")}
    if modules.task in HEADS:
        moved |= head
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
    found: dict[str, np.ndarray] = {}
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
            found[f"{modules.full(module)}.{wrap}{part}"] = array(theirs)
    return found, _saved_fields(kind, modules, plan, saved, head, bias, by_module)


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
    return fields | {"modules_to_save": sorted(map(modules.full, saved)) or None}


def _config(
    kind: str, modules: Modules, written: Written, pretrained: Pretrained
) -> dict[str, Any]:
    source = pretrained.source
    config = {
        "peft_type": kind,
        "task_type": modules.task,
        "base_model_name_or_path": source.get("folder") or source.get("spec"),
        "inference_mode": True,
        **written.config,
    }
    if written.modules:
        config |= _targets(modules, written)
    for field in ("rank_pattern", "alpha_pattern"):
        if config.get(field):
            config[field] = {
                modules.full(module): value for module, value in config[field].items()
            }
    if kind in PROMPTS:
        base = modules.config
        heads = base.get("num_attention_heads", base.get("n_heads"))
        if kind == "PREFIX_TUNING":
            heads = base.get("num_key_value_heads") or heads
        depth = base.get("num_hidden_layers", base.get("n_layers"))
        config |= {"num_attention_heads": heads, "num_layers": depth}
    return config


def _targets(modules: Modules, written: Written) -> dict[str, Any]:
    """`target_modules`, and the `feedforward_modules` among them."""
    known = [modules.full(module) for module in modules.sites]
    inside = written.config.get("feedforward_modules", ())
    apart = [modules.full(m) for m in written.modules if m not in inside]
    found = short_names(apart, known)
    if "feedforward_modules" not in written.config:
        return {"target_modules": found}
    own = short_names([modules.full(module) for module in inside], known)
    return {"target_modules": sorted(found + own), "feedforward_modules": own}


def _network(made: list[Patch]) -> dict[str, Any]:
    """What PEFT's config says of a P-tuning's network, which is not in the file."""
    own = next((p for p in made if isinstance(p, PromptEncoder)), None)
    if own is None:
        return {}
    units = own.mlp["0"]["kernel"].shape
    return {
        "encoder_reparameterization_type": "LSTM" if own.lstm else "MLP",
        "encoder_hidden_size": units[0] // 2 if own.lstm else units[1],
        "encoder_num_layers": len(own.lstm) or 2,
        "encoder_dropout": 0.0,
    }


def _named(kind: str, modules: Modules, written: Written, whole: Tensors) -> Tensors:
    """All tensors under the names of the file."""
    start = "base_model." if kind in PROMPTS else "base_model.model."
    found = {f"{start}{name}": tensor for name, tensor in whole.items()}
    for module, parts in written.modules.items():
        for part, tensor in parts.items():
            found[f"{start}{modules.full(module)}.{part}"] = tensor
    root = "" if kind in PROMPTS else "base_model."
    return found | {f"{root}{name}": tensor for name, tensor in written.shared.items()}


def _save(folder: Path, config: dict[str, Any], tensors: Tensors) -> None:
    """Both files whole, or neither."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".adapter-") as tmp:
        text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
        (Path(tmp) / CONFIG).write_text(text + "\n", encoding="utf-8")
        files.write(tensors, Path(tmp) / WEIGHTS[0])
        folder.mkdir(exist_ok=True)
        for name in (CONFIG, WEIGHTS[0]):
            os.replace(Path(tmp) / name, folder / name)
