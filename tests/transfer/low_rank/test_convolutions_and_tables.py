"""Low-rank patches of convolutions and of tables of embeddings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from single_sites import drawn, moved, near

from tl_jax import nn
from tl_jax.transfer import chain, dora, fold, full, loha, lokr, lora

KEY = jax.random.key(0)
CONVOLUTIONS = {
    "lora": lora(2, "conv"),
    "dora": dora(2, "conv"),
    "loha": loha(2, "conv"),
    "loha of cores": loha(2, "conv", effective=True),
    "lokr": lokr(1, "conv", factor=2),
    "lokr of cores": lokr(1, "conv", effective=True),
    "two": chain(lora(1, "conv"), dora(1, "conv")),
}


@pytest.mark.parametrize("method", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_s_fold_is_exact(method):
    site = {"kernel": drawn(3, 3, 4, 6), "bias": drawn(6)}
    plan = method(KEY, full({"conv": site}))
    x = drawn(2, 7, 8, 4, seed=3)

    def run(plan):
        return nn.conv(plan.params["conv"], x, stride=2)

    near(run(plan), nn.conv(site, x, stride=2))
    plan = plan._replace(params=moved(plan.params))
    folded = fold(plan)
    assert set(folded.params["conv"]) == {"kernel", "bias"}
    near(run(folded), run(plan))


def test_a_convolution_s_lora_is_a_convolution_and_a_product():
    plan = lora(2, "conv", 3.0)(KEY, full({"conv": {"kernel": drawn(3, 3, 4, 6)}}))
    site = moved(plan.params)["conv"]
    own, x = site["patch"]["lora"], drawn(2, 7, 8, 4, seed=3)
    low = nn.conv({"kernel": own.a}, x, stride=2)
    want = nn.conv({"kernel": site["kernel"]}, x, stride=2)
    near(nn.conv(site, x, stride=2), want + own.scale * (low @ own.b))


@pytest.mark.parametrize("tied", [False, True])
def test_a_table_s_lora_adds_rows(tied):
    plan = lora(2, "words", 3.0, leaf="embedding", tied=tied)(
        KEY, full({"words": {"embedding": drawn(7, 4)}})
    )
    own, ids = plan.params["words"]["patch"]["lora"], jnp.array([[0, 3], [6, 3]])
    assert not np.any(own.a)
    assert np.all(own.b != 0)
    site = moved(plan.params)["words"]
    own = site["patch"]["lora"]
    table = site["embedding"] + own.scale * (own.a @ own.b)
    near(nn.embed(site, ids), table[ids])
    # a tied output layer reads the table: it sees what stands in it, and only that
    seen = nn.weight(site, "embedding")
    near(seen, table if tied else site["embedding"])
    folded = fold(full({"words": site})).params["words"]
    near(nn.embed(folded, ids), table[ids])
