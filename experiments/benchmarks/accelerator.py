"""Where a worker's work runs: the CPU, or the first GPU, for jax and for torch alike.

On a GPU both frameworks multiply float32 in TF32: XLA by default, torch because it is
told to. Work is handed over and waited for, and memory is the device's own peak.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

Device = Literal["cpu", "gpu"]
CHOICES = ("cpu", "gpu")
SETTINGS: dict[Device, dict[str, str]] = {
    "cpu": {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
    "gpu": {"JAX_PLATFORMS": "cuda", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
}
"""Of a worker's environment: two frameworks share a GPU if neither takes it whole."""


def prepare(device: Device, framework: str) -> None:
    """Make torch build its tensors on the GPU; jax does so by itself.

    Raises RuntimeError where torch finds none.
    """
    if device == "cpu" or framework != "torch":
        return
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch finds no GPU: torch.cuda.is_available() is False")
    torch.set_default_device("cuda")
    torch.set_float32_matmul_precision("high")


def waited(call: Callable[[], Any], device: Device, framework: str) -> Callable:
    """`call`, over when the device is; work in jax waits by itself."""
    if device == "cpu" or framework != "torch":
        return call
    import torch

    @functools.wraps(call)
    def whole() -> None:
        call()
        torch.cuda.synchronize()

    return whole


def peak_mb(framework: str) -> float:
    """Most megabytes of the GPU's memory that this process ever held."""
    if framework == "torch":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    import jax

    held = jax.local_devices()[0].memory_stats() or {}
    return held.get("peak_bytes_in_use", 0) / 2**20


def name(framework: str) -> str:
    """What the GPU calls itself."""
    if framework == "torch":
        import torch

        return torch.cuda.get_device_name()
    import jax

    return jax.devices()[0].device_kind
