"""Batches from memory: our loader against torch's DataLoader."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from experiments.benchmarks import tried
from experiments.benchmarks.kinds import Ready, Row, Side

BATCH, BATCHES, COUNT = 64, 100, 10_000
SHORTEST, LONGEST = 16, 128


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Images [N 32 32 3] of bytes, and labels [N]."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (COUNT, 32, 32, 3), np.uint8)
    return drawn, rng.integers(0, 10, COUNT)


def texts() -> tuple[list[np.ndarray], np.ndarray]:
    """Token ids of different lengths, and labels [N]."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(SHORTEST, LONGEST + 1, COUNT)
    rows = [rng.integers(1000, 30000, n).astype(np.int32) for n in lengths]
    return rows, rng.integers(0, 10, COUNT)


def drawing(batches: Iterator[Any]) -> Ready:
    """A call takes the next batches."""

    def call() -> None:
        for _ in range(BATCHES):
            next(batches)

    return Ready(call)


def with_us(kind: str) -> Ready:
    """`data.loader` through `data.prefetch`, as a study reads it."""
    from tl_jax import data
    from tl_jax.data.ragged import ragged

    rows, labels = pictures() if kind == "images" else texts()
    columns = {"image": rows} if kind == "images" else {"tokens": ragged(rows)}
    made = data.loader(columns, labels, batch=BATCH)
    return drawing(data.prefetch(made.at, 0, None))


def with_torch(kind: str, workers: int = 0, gather: bool = False) -> Ready:
    """DataLoader an example at a time, or (`gather`) indexing whole batches."""
    import torch
    from torch.utils import data

    settings: dict[str, Any] = {"num_workers": workers}
    settings |= {"persistent_workers": workers > 0}
    rows, labels = pictures() if kind == "images" else texts()
    labels = torch.from_numpy(labels)
    if kind == "images":
        source: Any = data.TensorDataset(torch.from_numpy(rows), labels)
    else:
        tensors = [torch.from_numpy(row) for row in rows]
        source = list(zip(tensors, labels, strict=True))
        settings["collate_fn"] = padded
    if gather:
        sampler = data.BatchSampler(data.RandomSampler(source), BATCH, drop_last=True)
        settings |= {"sampler": sampler, "batch_size": None}
    else:
        settings |= {"shuffle": True, "batch_size": BATCH, "drop_last": True}
    return drawing(endless(lambda: data.DataLoader(source, **settings)))


def padded(examples: list[tuple[Any, Any]]) -> tuple[Any, Any, Any]:
    """Tokens [B T], mask [B T] and labels [B], as long as the longest."""
    import torch

    rows, labels = zip(*examples, strict=True)
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.arange(tokens.shape[1]) < lengths[:, None]
    return tokens, mask, torch.stack(labels)


def endless(make: Callable[[], Iterable]) -> Iterator[Any]:
    """Epoch after epoch of one loader."""
    made = make()
    while True:
        yield from made


def torch_side(name: str, kind: str, **options: Any) -> Side:
    """A DataLoader with some settings."""
    build = f"{__name__}:with_torch"
    return Side(f"DataLoader{name}", build, {"kind": kind, **options}, needs=("torch",))


def row(kind: str, work: str, *more: Side) -> Row:
    """One row."""
    ours = Side("tl_jax, loader", f"{__name__}:with_us", {"kind": kind})
    peers = torch_side("", kind), torch_side(", 2 workers", kind, workers=2)
    return Row(
        f"pipeline_{kind}",
        f"Batches of {kind}",
        f"{BATCHES} shuffled batches of {BATCH} {work}.",
        ours=(ours,),
        peers=(*peers, *more),
        examples=BATCH * BATCHES,
        tried=tried.PIPELINE,
    )


ROWS = (
    row(
        "images",
        f"images of 32x32x3 bytes, from {COUNT:,} in memory",
        torch_side(", gathering whole batches", "images", gather=True),
    ),
    row("tokens", f"rows of {SHORTEST} to {LONGEST} tokens, padded, with a mask"),
)
