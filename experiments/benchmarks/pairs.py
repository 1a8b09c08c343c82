"""The usual sides of a row: our precisions, and a peer eager and compiled in each."""

from typing import Any

from experiments.benchmarks.kinds import Side

BOTH = ("float32", "bfloat16")
"""Precisions of products; parameters are float32 in either."""


def ours(
    build: str, dtypes: tuple[str, ...] = ("float32",), **options: Any
) -> tuple[Side, ...]:
    """One side a precision; `build` takes `dtype` beside the options."""
    return tuple(
        Side(f"tl_jax, {dtype}", build, {"dtype": dtype, **options}, "jax", dtype)
        for dtype in dtypes
    )


def peers(
    who: str,
    build: str,
    needs: tuple[str, ...] = ("torch",),
    dtypes: tuple[str, ...] = ("float32",),
    **options: Any,
) -> tuple[Side, ...]:
    """Eager and torch.compile; `build` takes `compile` and `dtype`, too."""
    return tuple(
        Side(
            f"{who}, {'torch.compile' if compile else 'eager'}, {dtype}",
            build,
            {"compile": compile, "dtype": dtype, **options},
            "torch",
            dtype,
            needs,
            compiler=compile,
        )
        for dtype in dtypes
        for compile in (False, True)
    )
