"""What a benchmark is made of: rows, their sides, and what a side makes ready."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple


class Side(NamedTuple):
    """One way to do a row's work, timed in a process of its own."""

    name: str
    build: str
    """`module:function`; called in the worker with `options`, it returns `Ready`."""
    options: Mapping[str, Any] = {}
    framework: Literal["jax", "torch", ""] = ""
    """Whose matrix products bound it."""
    dtype: str = "float32"
    needs: tuple[str, ...] = ()
    """Modules that must be installed, else the line says how to get them."""
    compiler: bool = False
    """True where a C++ compiler is needed (torch.compile)."""
    allocator: Literal["keep", "system"] = "keep"
    """See `experiments.allocator`."""
    env: Mapping[str, str] = {}
    """Set for this process alone."""
    against: str = ""
    """Of a peer: our side that it is compared with; else the first of its dtype."""


class Row(NamedTuple):
    """One piece of work, done by us and by others."""

    name: str
    title: str
    work: str
    """What one call does, the same on all sides."""
    ours: tuple[Side, ...]
    """The first is the one that a reader should use."""
    peers: tuple[Side, ...] = ()
    examples: int = 0
    """Done by one call; 0 where that means nothing."""
    product: tuple[int, int, int] | None = None
    """(M, K, N) of the matrix product where most of the time should go."""
    tried: tuple[str, ...] = ()
    """What was tried to make our side faster, and what came of it."""


class Ready(NamedTuple):
    """Work made ready in a worker."""

    call: Callable[[], Any]
    """Does the work once and returns when it is done."""
    flops: float | None = None
    """Of one call, as XLA counts them."""
    compile_seconds: float | None = None
    """Where it was compiled ahead of time."""
    compiles: bool = False
    """True where the first call compiles: its excess over a warm one is reported."""
    facts: Callable[[], dict[str, Any]] = dict
    """What else should be known: parameters, losses, objectives."""
