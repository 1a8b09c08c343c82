"""What the machine can do at best: plain matrix products, in jax and in torch."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from experiments.benchmarks.kinds import Ready, Row, Side

SQUARE = (2048, 2048, 2048)
REPEATS, LEAST = 7, 0.1
"""Timings of each product, and the least seconds of one."""
Shape = Sequence[int]


def sides(row: Row) -> list[Side]:
    """A side for each framework of the row that measures its products."""
    shapes = [SQUARE, row.product] if row.product else [SQUARE]
    found = []
    for framework in ("jax", "torch"):
        dtypes = {s.dtype for s in (*row.ours, *row.peers) if s.framework == framework}
        if dtypes:
            build = f"{__name__}:with_{framework}"
            options = {"shapes": shapes, "dtypes": sorted(dtypes)}
            name = f"products in {framework}"
            found.append(Side(name, build, options, framework, needs=(framework,)))
    return found


def best_rate(call: Callable[[], Any], shape: Shape) -> float:
    """GFLOP/s of the fastest of some timings: a limit, so noise can only lower it."""
    m, k, n = shape
    call()
    fastest, repeats = float("inf"), 1
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        taken = time.perf_counter() - start
        fastest = min(fastest, taken / repeats)
        repeats = max(repeats, int(LEAST / fastest) + 1)
    return 2e-9 * m * k * n / fastest


def label(shape: Shape, dtype: str) -> str:
    """`2048x2048x2048 float32`."""
    return "x".join(map(str, shape)) + f" {dtype}"


def with_jax(shapes: Sequence[Shape], dtypes: Sequence[str]) -> Ready:
    """Rates of jax: float32 sums of products of `dtype`."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.matmul(a, b, preferred_element_type=jnp.float32)

    rates = {}
    for dtype in dtypes:
        for m, k, n in shapes:
            a = jax.random.normal(jax.random.key(0), (m, k), dtype)
            b = jax.random.normal(jax.random.key(1), (k, n), dtype)

            def call(a: jax.Array = a, b: jax.Array = b) -> None:
                product(a, b).block_until_ready()

            rates[label((m, k, n), dtype)] = best_rate(call, (m, k, n))
    return Ready(lambda: None, facts=lambda: rates)


def with_torch(shapes: Sequence[Shape], dtypes: Sequence[str]) -> Ready:
    """Rates of torch."""
    import torch

    rates = {}
    for dtype in dtypes:
        for m, k, n in shapes:
            kind = getattr(torch, dtype)
            a, b = torch.randn((m, k), dtype=kind), torch.randn((k, n), dtype=kind)
            out = torch.empty((m, n), dtype=kind)

            def call(a=a, b=b, out=out) -> None:
                torch.mm(a, b, out=out)
                if out.is_cuda:
                    torch.cuda.synchronize()

            rates[label((m, k, n), dtype)] = best_rate(call, (m, k, n))
    return Ready(lambda: None, facts=lambda: rates)
