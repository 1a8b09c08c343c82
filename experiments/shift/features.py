"""Two domains as the features that a frozen body computes once, and a network there."""

from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from experiments.frozen import kept
from experiments.inputs import Encoded
from tl_jax.models import frozen_features, mlp
from tl_jax.types import Model, Pretrained

if TYPE_CHECKING:
    from experiments.shift.problem import Shifted


def over_features(problem: "Shifted") -> "Shifted":
    """The problem with features in the place of inputs."""
    columns = {"features": kept(problem)}
    columns |= {n: c for n, c in problem.encoded.columns.items() if n == "domain"}
    made = without_features(problem)
    return made._replace(encoded=Encoded(columns, problem.encoded.labels))


def without_features(problem: "Shifted") -> "Shifted":
    """The same before they are computed: for plans and shapes alone."""
    base = network_base(problem.base, problem.base.model.width, problem.config)
    return problem._replace(base=base, augment=None)


def network_base(base: Pretrained, width: int, config: ConfigDict) -> Pretrained:
    """What reads features [B width]: a network without weights yet, or nothing."""
    own = network(width, config)
    return base._replace(model=own, params={}, stats={}, preprocess=None)


def network(width: int, config: ConfigDict) -> Model:
    """The network over features, of the config's widths; none: they are as they are."""
    widths = tuple(config.shift.network)
    if not widths:
        return frozen_features(width)
    more = {"activation": config.model.activation} if config.model.activation else {}
    rate = max(config.model.dropout, 0.0)
    return mlp(width, widths, rate=rate, **more)
