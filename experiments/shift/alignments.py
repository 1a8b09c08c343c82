"""Maps of two domains' features that configs know, by name."""

from collections.abc import Callable, Mapping
from typing import Any

ALIGNMENTS: Mapping[str, Callable[..., Any]] = {}
"""Name -> `(source [N D], target [M D], **arguments) -> (map, map)`, of features
[. D] of each domain to [. E]."""
