"""What a result depends on beside its config."""

import os
import platform
import sys
from importlib import metadata

PACKAGES = (
    *("jax", "jaxlib", "optax", "orbax-checkpoint", "grain", "numpy"),
    *("scipy", "scikit-learn", "tokenizers", "safetensors", "ml_collections"),
)


def versions() -> dict[str, str]:
    """Versions of the packages that numbers can depend on."""
    import tl_jax

    found = {"python": platform.python_version(), "tl_jax": tl_jax.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def machine() -> str:
    """Cores, architecture and devices in a few words."""
    import jax

    kinds = sorted({device.device_kind for device in jax.devices()})
    devices = f"{jax.device_count()} {'/'.join(kinds)} device"
    devices += "s" if jax.device_count() > 1 else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    cores = cores or os.cpu_count()
    return f"{cores} cores, {platform.machine()}, {sys.platform}, {devices}"
