"""Record small files of `torch.save` in both formats, and what they hold.

    python tests/golden/record_torch.py

Needs torch. Writes `torch/zip.pth`, `torch/stream.pth` and `torch/values.npz`.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent / "torch"


def tensors() -> OrderedDict:
    """Strides, offsets, shared storages, a parameter, every dtype, empty ones."""
    base = torch.arange(24, dtype=torch.float32) / 7
    found = OrderedDict(
        plain=base.reshape(2, 3, 4),
        turned=base.reshape(4, 6).t(),
        part=base[5:17:3],
        inner=base.reshape(2, 3, 4)[1, :, 1:3],
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 3),
        channels=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        parameter=torch.nn.Parameter(torch.ones(2, 2)),
    )
    for kind in ("float64", "float16", "bfloat16", "int64", "int32", "int16"):
        found[kind] = torch.tensor([1, -2, 3]).to(getattr(torch, kind))
    found["uint8"] = torch.tensor([1, 255], dtype=torch.uint8)
    found["int8"] = torch.tensor([1, -128], dtype=torch.int8)
    found["bool"] = torch.tensor([True, False])
    found._metadata = OrderedDict({"": {"version": 2}})
    return found


def plain(value: torch.Tensor) -> np.ndarray:
    """As NumPy, bfloat16 as float32."""
    value = value.detach()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def main() -> None:
    torch.manual_seed(0)
    HERE.mkdir(exist_ok=True)
    found = tensors()
    torch.save(found, HERE / "zip.pth")
    torch.save(found, HERE / "stream.pth", _use_new_zipfile_serialization=False)
    np.savez_compressed(HERE / "values.npz", **{k: plain(v) for k, v in found.items()})


if __name__ == "__main__":
    main()
