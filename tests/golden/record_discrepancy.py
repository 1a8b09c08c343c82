"""Record discrepancies of two small domains by TLlib, pytorch-adapt and skada.

    PYTHONPATH=.:<their folders> python tests/golden/record_discrepancy.py

Writes `discrepancy.npz`: the inputs, and each value with its gradients.
"""

from pathlib import Path

import numpy as np
from discrepancy_peers import PEERS, computed, drawn


def main() -> None:
    found = dict(drawn())
    for peer in PEERS.values():
        for name, value in peer().items():
            found |= {f"{name}/{n}": array for n, array in computed(value).items()}
    np.savez_compressed(Path(__file__).parent / "discrepancy.npz", **found)


if __name__ == "__main__":
    main()
