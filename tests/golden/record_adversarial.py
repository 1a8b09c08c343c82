"""Record adversarial losses of two small domains by TLlib and pytorch-adapt.

    PYTHONPATH=.:<their folders> python tests/golden/record_adversarial.py

Writes `adversarial.npz`: the inputs, and each value with its gradients.
"""

from pathlib import Path

import numpy as np
from adversarial_peers import PEERS, computed, drawn


def main() -> None:
    found = dict(drawn())
    for peer in PEERS.values():
        for name, value in peer().items():
            found |= {f"{name}/{n}": array for n, array in computed(value).items()}
    np.savez_compressed(Path(__file__).parent / "adversarial.npz", **found)


if __name__ == "__main__":
    main()
