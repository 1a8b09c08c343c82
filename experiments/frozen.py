"""Few-shot problems over features that a frozen model computes once, kept on disk."""

import hashlib
from pathlib import Path

import jax
import numpy as np

from experiments.episodes import Episodes, resident_of
from experiments.evaluate import predict_all
from experiments.inputs import Encoded, cache_folder
from experiments.problem import Problem
from experiments.programs import applying, over_streams
from tl_jax import data
from tl_jax.checkpoint import write_atomic
from tl_jax.distribute import agree, is_first, meet, place, share
from tl_jax.models import frozen_features
from tl_jax.types import Pretrained

FOLDER = "features"


def frozen(problem: Episodes) -> Episodes:
    """The problem with features in place of inputs and nothing to compute them.

    For strategies that never move the body.
    """
    features, base = kept(problem), frozen_base(problem.base)
    encoded = Encoded({"features": features}, problem.encoded.labels)
    made = problem._replace(base=base, encoded=encoded, augment=None)
    return made if problem.held is None else made._replace(held=resident_of(made))


def frozen_base(base: Pretrained) -> Pretrained:
    """What is left of a model whose features are computed before."""
    own = frozen_features(base.model.width)
    return base._replace(model=own, params={}, stats={}, preprocess=None)


def kept(problem: Episodes | Problem) -> np.ndarray:
    """Features [N D] of all rows, from disk where they were computed before."""
    file = cache_folder() / FOLDER / f"{_digest(problem)}.npy"
    if agree(not file.is_file()):  # processes may have caches of their own
        found = computed(problem)
        if is_first():
            _write(file, found)
        meet(f"features {file.name}")
        return found
    return np.load(file, allow_pickle=False)


def _write(file: Path, found: np.ndarray) -> None:
    import io

    held = io.BytesIO()
    np.save(held, found, allow_pickle=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, held.getvalue())


def _digest(problem: Episodes | Problem) -> str:
    """A name for the weights, how they are run, and every input."""
    config, made = problem.config, hashlib.sha256()
    made.update(repr(sorted(problem.base.source.items())).encode())
    made.update(repr(problem.base.preprocess).encode())
    made.update(config.model.to_json_best_effort(sort_keys=True).encode())
    for name, column in sorted(problem.encoded.columns.items()):
        made.update(name.encode())
        parts = column[:2] if isinstance(column, data.Ragged) else (column,)
        for part in parts:
            for at in range(0, len(part), 4096):
                made.update(np.ascontiguousarray(part[at : at + 4096]).tobytes())
    return made.hexdigest()[:32]


def computed(problem: Episodes | Problem) -> np.ndarray:
    """Features [N D] of all rows by the pretrained weights."""
    layout, base = problem.layout, problem.base
    program = applying(base.model, layout, lambda outputs: outputs.features)
    params, stats = place(layout, (base.params, base.stats))
    run = over_streams(layout, lambda inputs: program(params, stats, inputs))
    shard, shards = share(layout)
    size = max(problem.config.eval_batch_size, 64)
    streams = data.evaluation(
        problem.encoded.columns,
        batch=size - size % (shards * jax.local_device_count()),
        buckets=problem.encoded.buckets,
        shard=shard,
        shards=shards,
    )
    return np.asarray(predict_all(run, streams).logits, np.float32)
