"""One of two processes that share products: places batches by itself, then meets.

Arguments: host:port and this process's number.
"""

import sys
import time

import numpy as np

from tl_jax import distribute

address, own = sys.argv[1], int(sys.argv[2])
distribute.connect(distribute.Cluster(address, 2, own))
layout = distribute.layout("model=2")
assert distribute.share(layout) == (0, 1)
for _ in range(3 - 2 * own):  # one of them three times, the other once
    placed = distribute.place_batch(layout, {"x": np.full((2, 4), own, np.int32)})
part = np.asarray(placed["x"].addressable_shards[0].data)
np.testing.assert_array_equal(part, np.full((2, 4), own))
if own:
    time.sleep(2)  # the other waits
distribute.meet("here")
print(distribute.agree(own == 1), distribute.agree(False))
distribute.leave()
