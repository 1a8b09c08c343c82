"""A folder of checkpoints: save while training goes on, restore what is sound.

Orbax writes into a temporary folder and renames it; the manifest in each checkpoint
(shape, dtype and digest of every leaf, sealed by a digest of its own) is what a
restore is held against.
"""

import json
import logging
import operator
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax

from tl_jax.checkpoint import leaves as leaf_io
from tl_jax.checkpoint.compare import (
    TreeMismatch,
    compare_specs,
    flatten_once,
    specs_of,
)
from tl_jax.checkpoint.folder import (
    FORMAT,
    CheckpointError,
    anywhere,
    cause,
    kept,
    ranked,
    read_leaves,
    read_manifest,
    save_args,
    start,
)
from tl_jax.checkpoint.leaves import Damaged

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Restored(NamedTuple):
    """What was saved at `step`."""

    step: int
    tree: Any
    meta: dict[str, Any]


def open(
    directory: str | os.PathLike,
    *,
    keep_last: int = 2,
    keep_best: int = 1,
    mode: str = "max",
    read_only: bool = False,
) -> "Checkpoints":
    """The checkpoints in `directory`, which is made, and cleared of unfinished writes.

    Kept are the newest `keep_last` and the `keep_best` of highest (`mode="max"`) or
    lowest (`"min"`) score. `read_only` changes nothing on disk: for a second program
    beside the run. All processes of a run call every method.
    Raises CheckpointError where the folder can't be used.
    """
    if keep_last < 1 or keep_best < 0:
        raise ValueError(
            f"keep_last={keep_last}, keep_best={keep_best}: expected at least 1 and 0"
        )
    if mode not in ("max", "min"):
        raise ValueError(f"mode {mode!r}: expected 'max' or 'min'")
    place = os.fspath(directory)
    if "://" not in place:
        place = os.path.abspath(os.path.expanduser(place))
    return Checkpoints(place, keep_last, keep_best, mode, read_only)


class Checkpoints:
    """Save and restore; made by `open`. Use it in `with`, or call `close`."""

    def __init__(
        self, directory: str, keep_last: int, keep_best: int, mode: str, read_only: bool
    ):
        self.directory = directory
        self._keep = (keep_last, keep_best, mode)
        self._read_only = read_only
        self._pending: int | None = None
        self._damaged: dict[int, str] = {}
        self._scores: dict[int, float | None] = {}
        self._manager = start(directory, self._preserve, read_only)
        self._read_scores(self._manager.all_steps())

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self.close()
        except CheckpointError as failure:
            if error is None:
                raise
            logger.error("%s", failure)  # the error under way says more

    def close(self) -> None:
        """Wait for the write under way, then let go of orbax's threads."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def steps(self) -> list[int]:
        """Steps on disk, ascending, sound or not; waits for a write under way."""
        self.wait()
        return sorted(self._manager.all_steps(read=self._read_only))

    def latest(self) -> int | None:
        """The newest step on disk, or None."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The step of the best score on disk, or None where none has a score."""
        present = self.steps()
        self._read_scores(present)
        scores = {s: x for s, x in self._scores.items() if s in present}
        return next(iter(ranked(scores, self._keep[2])), None)

    def save(
        self,
        step: int,
        tree: Any,
        meta: Mapping[str, Any],
        score: float | None = None,
    ) -> None:
        """Copy `tree`, which may be donated then, and write it in the background.

        Waits for the write before. Raises CheckpointError if that failed or `step`
        exists, TypeError or ValueError if `meta` or a leaf can't be saved.
        """
        step = operator.index(step)
        if self._read_only or step < 0:
            why = "opened read-only" if self._read_only else "a step is 0 or more"
            raise CheckpointError(f"can't save step {step} in {self.directory}: {why}")
        leaf_io.check_json(meta)
        score = None if score is None else float(score)
        self._make_room(step)
        arrays, records = leaf_io.pack(tree)
        manifest = {
            "format": FORMAT,
            "step": step,
            "score": score,
            "meta": dict(meta),
            "leaves": records,
        }
        manifest = json.loads(json.dumps(manifest))  # the caller may change meta now
        manifest["seal"] = leaf_io.seal(manifest)
        self._pending, self._scores[step] = step, score
        try:
            self._manager.save(step, args=save_args(arrays, manifest), force=True)
        except Exception as error:
            raise self._failure(error) from None

    def wait(self) -> None:
        """Until all is on disk. Raises CheckpointError if a background write failed."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failure(error) from None
        self._pending = None

    def restore(self, target: Any, step: int | None = None) -> Restored:
        """The tree of `step`, or of the newest sound checkpoint, bit by bit.

        `target` is a tree of arrays or abstract arrays: its structure, shapes, dtypes
        and shardings are what comes back. Damaged checkpoints are passed over with a
        warning unless `step` names one. Raises TreeMismatch where the saved tree is
        another one, CheckpointError where there is nothing sound.
        """
        wanted = flatten_once(target)
        specs = specs_of(target)

        def read(step: int) -> Restored:
            manifest = self._manifest(step)
            records = manifest["leaves"]
            lines = compare_specs(specs, leaf_io.specs_of_records(records))
            if lines:
                title = f"checkpoint {self._folder(step)} does not fit the target:"
                raise TreeMismatch(title, lines)
            flat = read_leaves(self._manager, step, records, wanted)
            treedef = jax.tree.structure(target)
            tree = jax.tree.unflatten(treedef, [flat[path] for path in wanted])
            return Restored(step, tree, manifest["meta"])

        return self._newest(read, step)

    def restore_flat(self, step: int | None = None) -> Restored:
        """As `restore` without a target: `tree` is `{path: NumPy array}`."""

        def read(step: int) -> Restored:
            manifest = self._manifest(step)
            flat = read_leaves(self._manager, step, manifest["leaves"], {})
            return Restored(step, flat, manifest["meta"])

        return self._newest(read, step)

    def meta(self, step: int | None = None) -> dict[str, Any]:
        """The `meta` of `step`, or of the newest checkpoint whose meta is sound."""
        return self._newest(lambda step: self._manifest(step)["meta"], step)

    def _newest(self, read: Callable[[int], T], step: int | None) -> T:
        """`read` of `step`, or of the newest step it finds sound."""
        steps = self.steps()
        if not steps or (step is not None and step not in steps):
            wanted = (
                "no checkpoint" if step is None else f"no checkpoint of step {step}"
            )
            there = f"there are steps {steps}" if steps else "the folder has none"
            raise CheckpointError(f"{wanted} in {self.directory}; {there}")
        reasons = {}
        for candidate in steps[::-1] if step is None else [step]:
            try:
                result, reason = read(candidate), ""
            except Damaged as error:
                result, reason = None, str(error)
            if not anywhere(bool(reason)):
                return result
            reason = reason or "another process could not read it"
            self._damaged[candidate] = reasons[candidate] = reason
            if step is None and candidate != steps[0]:
                warnings.warn(
                    f"checkpoint {self._folder(candidate)} is damaged ({reason}); "
                    "the one before it is tried",
                    stacklevel=3,
                )
        listing = "\n".join(f"  {self._folder(s)}: {why}" for s, why in reasons.items())
        raise CheckpointError(f"damaged, and nothing else to restore:\n{listing}")

    def _folder(self, step: int) -> str:
        return os.path.join(self.directory, f"step_{step}")

    def _manifest(self, step: int) -> dict[str, Any]:
        return read_manifest(self._manager.directory / f"step_{step}", step)

    def _read_scores(self, steps: Iterable[int]) -> None:
        for step in set(steps) - set(self._scores) - set(self._damaged):
            try:
                self._scores[step] = self._manifest(step)["score"]
            except Damaged as error:
                self._damaged[step] = str(error)

    def _make_room(self, step: int) -> None:
        """Refuse to overwrite a checkpoint; put a damaged one of this step aside."""
        if step not in self.steps():
            return
        if step not in self._damaged:
            raise CheckpointError(
                f"step {step} is already in {self.directory}; save a later step or "
                "remove its folder"
            )
        folder = self._manager.directory / f"step_{step}"
        if jax.process_index() == 0:
            count = 0
            while (aside := folder.with_name(f"damaged_{step}_{count}")).exists():
                count += 1
            folder.rename(aside)
        anywhere(False)
        del self._damaged[step]
        self._manager.reload()

    def _preserve(self, infos: Iterable[Any], *, context: Any) -> list[bool]:
        """Orbax asks which checkpoints to keep; those known damaged don't count."""
        steps = [info.step for info in infos]
        sound = {s: self._scores.get(s) for s in steps if s not in self._damaged}
        keep = kept(sound, *self._keep)
        return [step in keep or step in self._damaged for step in steps]

    def _failure(self, error: Exception) -> CheckpointError:
        """Forget the failed step, clear its debris, and say what happened."""
        logger.debug("a write failed", exc_info=error)
        step, self._pending = self._pending, None
        self._scores.pop(step, None)
        there = "unknown"
        try:
            fresh = start(self.directory, self._preserve, self._read_only)
            broken, self._manager = self._manager, fresh
            there = str(sorted(fresh.all_steps()))
            broken.close()
        except Exception:
            logger.debug("reopening after a failed write", exc_info=True)
        return CheckpointError(
            f"step {step} was not saved in {self.directory}: {cause(error)}; "
            f"checkpoints that are there: {there}"
        )
