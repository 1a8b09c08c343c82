"""Paired timing of tl_jax and its peers on one machine."""
