"""Ways to weigh the source's rows that configs know, by name."""

from collections.abc import Callable, Mapping
from typing import Any

WEIGHTINGS: Mapping[str, Callable[..., Any]] = {}
"""Name -> `(source [N D], target [M D], **arguments) -> weights [N]`."""
