"""Record 4-bit kernels as bitsandbytes makes them (0.50.2, torch 2.13 on a CPU).

    python -m tests.golden.record_quantised

writes quantised.npz beside this file.
"""

from pathlib import Path

import numpy as np


def main() -> None:
    """Two kernels, without and with quantised scales."""
    import torch
    from bitsandbytes.functional import quantize_4bit

    found = {}
    for name, shape in {"small": (33, 17), "large": (96, 64)}.items():
        kernel = np.random.default_rng(len(name)).normal(size=shape) * 0.05
        found[f"{name}/kernel"] = kernel = kernel.astype(np.float32)
        rows = torch.tensor(kernel.T.copy())
        for nested in (False, True):
            settings = dict(blocksize=64, quant_type="nf4", compress_statistics=nested)
            codes, state = quantize_4bit(rows, **settings)
            if nested:
                found[f"{name}/nested_codes"] = state.absmax.numpy()
                found[f"{name}/offset"] = state.offset.numpy()
            else:
                found[f"{name}/codes"] = codes.numpy().ravel()
                found[f"{name}/scales"] = state.absmax.numpy()
    np.savez_compressed(Path(__file__).with_name("quantised.npz"), **found)


if __name__ == "__main__":
    main()
