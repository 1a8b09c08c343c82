"""A folder that PEFT wrote as a transfer."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from tl_jax.interop.peft.codec import Adapter, Tensors
from tl_jax.interop.peft.kinds import (
    CODECS,
    NAMES,
    PARTS,
    PROMPTS,
    SHARED,
    WRAPS,
)
from tl_jax.interop.peft.modules import Modules, modules_of, with_head
from tl_jax.interop.peft.settings import CONFIG, check_fields
from tl_jax.pretrained import files
from tl_jax.pretrained.names import to_ours
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank import LoRA, Projections, pissa
from tl_jax.transfer.low_rank.factors import shape_of
from tl_jax.transfer.prompts import Prompt, Shift
from tl_jax.tree import exactly, get, no_match, one_of, put, sites
from tl_jax.types import Key, Params, Patch, Plan, Pretrained, Transfer

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


class Sorted(NamedTuple):
    """The tensors of a file."""

    modules: dict[str, Tensors]
    """Module as the file has it -> what stands behind it -> tensor."""
    whole: Tensors
    """Weights of modules that were saved whole."""
    shared: Tensors


def read(
    folder: str | os.PathLike, pretrained: Pretrained, *, name: str | None = None
) -> Transfer:
    """The adapter of a folder that PEFT wrote, as a transfer; no torch is needed.

    `adapter_config.json` and `adapter_model.safetensors` (or .bin) of LORA (DoRA,
    rsLoRA, PiSSA and OLoRA too), ADALORA, VERA, LOHA, LOKR, IA3, LN_TUNING,
    PROMPT_TUNING, P_TUNING and PREFIX_TUNING. Patches are put beside the base's
    weights under `name`, by default the kind's; heads and other modules that were
    saved whole, and biases, take the place of the base's and move at rate 1. The
    base's own rates are untouched: `freeze` first.

    `pretrained` is the base that the adapter was trained on, with or without its head.
    Every tensor and every field of the config is accounted for.

    Raises `NoMatch` or ValueError with the tensor or field, what was found, what was
    expected and the nearest name; FileNotFoundError without the two files.
    """
    folder = Path(folder).expanduser()
    config, tensors = _files(folder)
    kind = config.get("peft_type")
    one_of(f"{folder / CONFIG}: peft_type", str(kind), CODECS)
    codec = CODECS[kind]
    check_fields(config, codec.fields)
    found = _sorted(kind, tensors)
    shapes = {_unwrapped(n): x.shape for n, x in found.whole.items()}
    params = with_head(pretrained, shapes)
    modules = modules_of(pretrained, params)
    leaves = _leaves(modules, params, found.whole)
    kernels = _kernels(modules, params)
    own: dict[str, Tensors] = {}
    for module, parts in found.modules.items():
        site = modules.site(module)
        if site not in kernels:
            raise no_match("a module with a kernel", module, modules.sites)
        own[module] = parts
    by_module = {m: kernels[modules.site(m)] for m in own}
    patches = codec.read(Adapter(config, own, found.shared, kernels | by_module))
    name = name or NAMES.get(kind, kind.lower())
    at = {modules.site(m) if m in own else m: patch for m, patch in patches.items()}
    _check_pooling(modules, at)
    return _transfer(at, leaves, kernels, name)


def _files(folder: Path) -> tuple[dict[str, Any], Tensors]:
    file = next((folder / n for n in WEIGHTS if (folder / n).is_file()), None)
    if file is None or not (folder / CONFIG).is_file():
        held = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        raise FileNotFoundError(
            f"{folder} holds {', '.join(held[:12]) or 'nothing'}, expected {CONFIG} "
            f"and {WEIGHTS[0]}"
        )
    arrays = dict(files.read(files.header(file)))
    return files.read_json(folder / CONFIG), arrays


def _sorted(kind: str, tensors: Tensors) -> Sorted:
    """Which tensor is what, by its name alone."""
    start = "base_model." if kind in PROMPTS else "base_model.model."
    found = Sorted({}, {}, {})
    for key, tensor in tensors.items():
        if key.removeprefix("base_model.") in SHARED:
            found.shared[key.removeprefix("base_model.")] = tensor
            continue
        if not key.startswith(start):
            raise ValueError(f"tensor {key!r}, expected a name that begins {start!r}")
        rest = key.removeprefix(start)
        if ".original_module." in rest:
            continue  # the base's, which PEFT left in the file
        part = next((p for p in PARTS if rest.endswith(f".{p}")), None)
        if part is None:
            found.whole[rest] = tensor
        else:
            module = rest.removesuffix(f".{part}")
            found.modules.setdefault(module, {})[part] = tensor
    return found


def _unwrapped(name: str) -> str:
    """The base's name of a tensor that stands in a wrapper."""
    *module, last = name.split(".")
    if len(module) > 1 and module[-1] in WRAPS:
        module = module[:-1]
    return ".".join([*module, last])


def _leaves(modules: Modules, params: Params, whole: Tensors) -> dict[str, np.ndarray]:
    """Path -> value of what was saved whole."""
    found: dict[str, np.ndarray] = {}
    for key, tensor in whole.items():
        plain = modules.plain(_unwrapped(key))
        if plain not in modules.leaves:
            raise no_match("tensor", key, map(modules.full, modules.leaves))
        name = modules.leaves[plain]
        made = to_ours(tensor, name.turn)
        held = np.shape(get(params, name.ours))
        if made.shape != held:
            raise ValueError(
                f"tensor {key!r} is {list(tensor.shape)}, expected that of "
                f"{name.ours}, {list(held)}, as the file has it"
            )
        if name.ours in found and not np.array_equal(found[name.ours], made):
            raise ValueError(f"tensor {key!r} differs from another of {name.ours}")
        found[name.ours] = made
    return found


def _kernels(modules: Modules, params: Params) -> dict[str, tuple[int, ...]]:
    """Site -> the shape of its kernel or table."""
    found = {}
    for path, site in sites(params).items():
        for leaf in ("kernel", "embedding"):
            if leaf in site:
                found[path] = shape_of(site, leaf)
    return found


def _check_pooling(modules: Modules, patches: Mapping[str, Patch]) -> None:
    """Raise for a prompt whose base reads another token in PEFT than here."""
    check_pooling(modules, any(isinstance(p, Prompt) for p in patches.values()))


def check_pooling(modules: Modules, prompted: bool) -> None:
    """Raise where PEFT's classifier would read the prompt in place of the text."""
    first = modules.recipe.options.get("features") in ("cls", "pooler")
    if prompted and first and modules.task == "SEQ_CLS":
        raise ValueError(
            f"a prompt for {modules.architecture}: in PEFT its classifier reads the "
            "first word of the prompt, here the class token, so that logits differ; "
            "expected a prefix, or a head over tokens or words"
        )


def _transfer(
    patches: dict[str, Patch],
    leaves: dict[str, np.ndarray],
    kernels: Mapping[str, tuple[int, ...]],
    name: str,
) -> Transfer:
    def transfer(key: Key, plan: Plan) -> Plan:
        params, rates = plan.params, plan.rates
        for path, leaf in leaves.items():
            params, rates = put(params, path, jnp.asarray(leaf)), put(rates, path, 1.0)
        plan = plan._replace(params=params, rates=rates)
        for path, patch in patches.items():
            own = f"{name}_shift" if isinstance(patch, Shift) else name
            plan = _put(path, patch, kernels, own)(key, plan)
        return plan

    return transfer


def _put(
    path: str, patch: Patch, kernels: Mapping[str, tuple[int, ...]], name: str
) -> Transfer:
    """A graft of one patch at one site, whose kernel must be as it was read."""

    def make(key: Key, site: Params) -> Patch:
        leaf = next((n for n in ("kernel", "embedding") if n in site), None)
        if leaf and path in kernels and shape_of(site, leaf) != kernels[path]:
            raise ValueError(
                f"{path}/{leaf} is {list(shape_of(site, leaf))}, but the adapter was "
                f"read for {list(kernels[path])}"
            )
        if isinstance(patch, Projections):
            return dataclasses.replace(patch, name=name)
        return patch

    where = exactly([path])
    if not (isinstance(patch, LoRA) and patch.residual):
        return graft(where, name, make)
    rank = patch.a.shape[-1]
    split = pissa(rank, where, float(patch.scale) * rank, name=name)

    def residual(key: Key, plan: Plan) -> Plan:
        plan = split(key, plan)
        at = f"{path}/patch/{name}"
        return plan._replace(params=put(plan.params, at, patch))

    return residual
