"""Record what TLlib and pytorch-adapt compute for self-training.

    PYTHONPATH=<TLlib>:<pytorch-adapt> python tests/golden/record_self_training.py

Needs torch and pytorch-metric-learning. Writes `self_training.npz`: the logits of
`self_training_peers.cases`, and what each peer makes of them.
"""

from pathlib import Path

import numpy as np
from self_training_peers import cases, of_pytorch_adapt, of_tllib

if __name__ == "__main__":
    given = cases()
    found = {f"given/{name}": array for name, array in given.items()}
    found |= {f"tllib/{name}": array for name, array in of_tllib(given).items()}
    found |= {f"adapt/{name}": array for name, array in of_pytorch_adapt(given).items()}
    np.savez_compressed(Path(__file__).parent / "self_training.npz", **found)
