"""What lies between us and orbax: folders, manifests, retention, words for errors."""

import json
import logging
import math
import os
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from tl_jax.checkpoint import leaves as leaf_io
from tl_jax.checkpoint.leaves import Damaged

logger = logging.getLogger(__name__)
FORMAT = 1
DEBRIS = ".orbax-checkpoint-tmp"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, found or read."""


def ranked(scores: Mapping[int, float | None], mode: str) -> list[int]:
    """Steps from best to worst score; of equals the earliest; without NaN and None."""
    sign = -1.0 if mode == "max" else 1.0
    real = {s: x for s, x in scores.items() if x is not None and not math.isnan(x)}
    return sorted(real, key=lambda step: (sign * real[step], step))


def kept(
    scores: Mapping[int, float | None], keep_last: int, keep_best: int, mode: str
) -> set[int]:
    """The steps of `scores` (step -> score or None) that are not to be deleted."""
    return set(sorted(scores)[-keep_last:]) | set(ranked(scores, mode)[:keep_best])


def start(directory: str, preserve: Callable, read_only: bool) -> Any:
    """Orbax's manager of a folder without debris; raises CheckpointError."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").addFilter(_raised_anyway)
    options = ocp.CheckpointManagerOptions(
        step_prefix="step",
        create=not read_only,
        lightweight_initialize=True,  # a damaged checkpoint must not prevent opening
        preservation_policy=types.SimpleNamespace(should_preserve=preserve),
        async_options=ocp.options.AsyncOptions(create_directories_asynchronously=False),
        atomicity_options=ocp.options.AtomicityOptions(allow_legacy_atomic_rename=True),
    )
    try:
        manager = ocp.CheckpointManager(directory, options=options)
        if not read_only:
            if "://" not in directory and not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError("no permission to write")
            if jax.process_index() == 0:
                for path in manager.directory.iterdir():
                    if path.name.startswith("step_") and DEBRIS in path.name:
                        path.rmtree()
        elif not manager.directory.is_dir():
            raise FileNotFoundError("no such folder")
    except (OSError, ValueError) as error:
        reason = _blocked_by_file(directory) or first_line(error)
        raise CheckpointError(
            f"can't keep checkpoints in {directory}: {reason}"
        ) from None
    anywhere(False)
    return manager


def _raised_anyway(record: logging.LogRecord) -> bool:
    """Drop the pages of traceback that orbax logs of an error which is raised too."""
    ours = "orbax" in record.pathname and record.levelno >= logging.ERROR
    if ours:
        logger.debug("orbax: %s", record.getMessage())
    return not ours


def save_args(arrays: Mapping[str, Any], manifest: Mapping[str, Any]) -> Any:
    """What orbax is to write: the manifest, and the arrays if there are any."""
    import orbax.checkpoint as ocp

    parts = {"manifest": ocp.args.JsonSave(manifest)}
    if arrays:
        parts["tree"] = ocp.args.StandardSave(arrays)
    return ocp.args.Composite(**parts)


def anywhere(flag: bool) -> bool:
    """True on all processes if it is on one; all of them must call it."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array([flag])).any())


def _blocked_by_file(directory: str) -> str:
    """The part of a path that is a file where a folder should be."""
    while directory and directory != os.path.dirname(directory):
        if os.path.isfile(directory):
            return f"{directory} is a file"
        directory = os.path.dirname(directory)
    return ""


def cause(error: BaseException) -> str:
    """What went wrong, the system's own words first."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    told = f"{os.strerror(int(code[1]))}: " if code else ""
    return told + first_line(error)


def first_line(error: BaseException) -> str:
    """An error's kind and the beginning of its text."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text[:400]}"


def read_manifest(folder: Any, step: int) -> dict[str, Any]:
    """The manifest in a checkpoint's folder, if its seal is whole; raises Damaged."""
    path = folder / "manifest" / "metadata"
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Damaged("its manifest is missing") from None
    except (OSError, ValueError) as error:
        raise Damaged(f"its manifest can't be read: {first_line(error)}") from None
    if not isinstance(manifest, dict) or "seal" not in manifest:
        raise Damaged("its manifest is incomplete")
    if manifest["seal"] != leaf_io.seal(manifest) or manifest["step"] != step:
        raise Damaged("its manifest is not what was saved")
    if manifest["format"] != FORMAT:
        raise CheckpointError(
            f"checkpoint {folder} has format {manifest['format']}; "
            f"this version reads format {FORMAT}"
        )
    return manifest


def read_leaves(
    manager: Any, step: int, records: Mapping[str, Any], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """`{path: leaf}` like `wanted`, verified; raises Damaged."""
    import orbax.checkpoint as ocp

    plan = {
        path: leaf_io.abstract(record, wanted.get(path))
        for path, record in records.items()
        if leaf_io.is_stored(record)
    }
    arrays: dict[str, Any] = {}
    if plan:
        args = ocp.args.Composite(tree=ocp.args.StandardRestore(plan))
        try:
            arrays = manager.restore(step, args=args).tree
        except Exception as error:
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
                raise  # too little memory says nothing about the checkpoint
            raise Damaged(first_line(error)) from error
    leaf_io.verify(arrays, records)
    return {
        path: leaf_io.unpack(record, arrays.get(path), wanted.get(path))
        for path, record in records.items()
    }
