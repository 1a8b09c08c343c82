"""The risk of each source domain in a batch."""

from typing import NamedTuple

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Seen, Side
from tl_jax.algorithms.adaptation.streams import importance
from tl_jax.algorithms.supervised import Loss, Weigh
from tl_jax.tree import no_match
from tl_jax.types import Array, Stream

DOMAIN = "domain"
"""The input column [B] with the number of a row's domain."""


class Rows(NamedTuple):
    """Whose rows a batch holds."""

    weight: Array
    """[E B] what a row counts in the mean of a domain, 0 in those of others."""

    @property
    def there(self) -> Array:
        """[E] whether a domain has any row."""
        return self.weight.sum(1) > 0

    def mean(self, values: Array) -> Array:
        """[E] the mean of each domain, 0 of nothing. values [B]."""
        counted = jnp.where(self.weight.sum(0) > 0, values, 0)
        return self.weight @ counted / jnp.maximum(self.weight.sum(1), 1e-12)

    def over(self, each: Array) -> Array:
        """[] the mean over the domains that are there. each [E]."""
        there = self.there.astype(each.dtype)
        return (there * each).sum() / jnp.maximum(there.sum(), 1)


def rows_of(stream: Stream, domains: int, weigh: Weigh, term: str) -> Rows:
    """A batch's rows by domain. Rows of a number outside 0..E-1 are of none.

    Raises `NoMatch` for inputs without the column.
    """
    inputs = stream["inputs"]
    if DOMAIN not in inputs:
        raise no_match(f"{term}: input", DOMAIN, inputs)
    mine = inputs[DOMAIN] == jnp.arange(domains)[:, None]
    return Rows(mine * (weigh(stream) * importance(stream)))


def source(seen: Seen, term: str) -> Side:
    """The source's side; raises ValueError where a batch has none."""
    if seen.source is None:
        raise ValueError(f"{term}: the batch has no stream 'source'")
    return seen.source


def instead(seen: Seen, own: Array, loss: Loss, weigh: Weigh) -> Array:
    """What, added to the mean loss over all rows, puts `own` in the source's place.

    Labelled rows of the target, where they were opened, keep their share of it.
    """
    side = seen.source
    weight = weigh(side.stream) * importance(side.stream)
    values = jnp.where(weight > 0, loss(side.outputs, side.stream), 0)
    count = weight.sum()
    total = count
    if seen.labelled is not None:
        other = seen.labelled.stream
        total = total + (weigh(other) * importance(other)).sum()
    gap = own - (weight * values).sum() / jnp.maximum(count, 1e-12)
    return count / jnp.maximum(total, 1e-12) * gap


def check_domains(term: str, domains: int) -> None:
    """Raise ValueError for less than two domains."""
    if domains != int(domains) or domains < 2:
        raise ValueError(f"{term}: domains is {domains}, expected at least 2")


def check_begin(term: str, begin: float) -> None:
    """Raise ValueError for a share outside 0..1."""
    if not 0 <= begin <= 1:
        raise ValueError(f"{term}: begin is {begin}, expected 0..1")
