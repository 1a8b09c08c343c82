"""The cache of compiled programs on disk."""

import jax

from experiments.inputs import cache_folder


def use_cache() -> None:
    """Keep every compiled program, however small, in the user's cache.

    A folder that the user gave to JAX stays the one.
    """
    if jax.config.jax_compilation_cache_dir is None:
        folder = cache_folder() / "programs"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
