"""Methods by name in a config: what moves, and how many numbers."""

import jax
import pytest

from configs import finetune, strategies
from experiments.strategies import make_strategy
from tl_jax import transfer
from tl_jax.models import bert
from tl_jax.transfer import full, new_head
from tl_jax.tree import flatten

D, R, H = 32, 2, 64
ADAPTER = 2 * D * R + D + R
COMPACTED = 4 * (D // 4 + 1) * 2 + D + 4  # four wide: parts must divide it
COUNTS = {
    "IA3": 5 * (2 * D + H),
    "HOULSBY": 10 * ADAPTER,
    "PFEIFFER": 5 * ADAPTER,
    "PARALLEL": 5 * ADAPTER,
    "COMPACTER": 10 * COMPACTED + 4**3,
    "ADAPTER_DROP": 5 * ADAPTER,
    "SPARSE": 5 * (4 * round(D * D / 100) + 2 * round(D * H / 100)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_ready_strategy_moves_its_own_and_the_head(name):
    model = bert(vocabulary=20, width=D, depth=5, heads=2, hidden=H, positions=9)
    own = dict(getattr(strategies, name))
    if name == "COMPACTER":
        own["plan"] = (*own["plan"][:1], own["plan"][1] | {"width": 4}, own["plan"][2])
    config = finetune.get_config()
    config.steps = 10
    config.strategies.mine = own | {"rate": 1e-3}
    (phase,) = make_strategy("mine", config).phases
    key = jax.random.key(0)
    plan = new_head(3, D)(key, full(*model.init(key)))
    plan = phase.transfer(key, plan)
    params, rates = flatten(plan.params), flatten(plan.rates)
    moving = {path for path, rate in rates.items() if rate}
    assert {p for p in moving if "patch/" not in p} == {"head/kernel", "head/bias"}
    assert sum(params[p].size for p in moving if "patch/" in p) == COUNTS[name]


def test_every_strategy_names_what_is_exported():
    for name in COUNTS:
        for step in getattr(strategies, name)["plan"]:
            assert step["transform"] in transfer.__all__
