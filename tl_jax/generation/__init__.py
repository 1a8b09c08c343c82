"""Sequences from a model that goes on token by token."""

from tl_jax.generation.beams import Beams, beam_search
from tl_jax.generation.greedy import greedy
from tl_jax.generation.sampled import likely, sample
from tl_jax.generation.written import written

__all__ = ["Beams", "beam_search", "greedy", "likely", "sample", "written"]
