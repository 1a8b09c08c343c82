"""Two domains as the features that a frozen body computes once, and a network there."""

import itertools
from typing import TYPE_CHECKING

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.frozen import kept
from experiments.inputs import Encoded
from experiments.problem import Problem
from tl_jax import data
from tl_jax.models import frozen_features, mlp
from tl_jax.types import Model, Pretrained

if TYPE_CHECKING:
    from experiments.shift.problem import Shifted


def over_features(problem: "Shifted") -> "Shifted":
    """The problem with features in the place of inputs."""
    columns = {"features": features_of(problem)}
    columns |= {n: c for n, c in problem.encoded.columns.items() if n == "domain"}
    made = without_features(problem)
    return made._replace(encoded=Encoded(columns, problem.encoded.labels))


def new_rows(problem: Problem) -> Problem:
    """A problem of new rows as the features that the network reads."""
    features, width = kept(problem), problem.base.model.width
    base = network_base(problem.base, width, problem.config)
    encoded = Encoded({"features": features}, problem.encoded.labels)
    return problem._replace(base=base, encoded=encoded)


def features_of(problem: "Shifted") -> np.ndarray:
    """[N D] the body's features of all rows, each domain's kept by itself.

    So pairs that share a domain share its features.
    """
    starts, count = problem.domains.starts, len(problem.domains.number)
    parts = []
    for start, stop in itertools.pairwise([*starts, count]):
        columns = {
            name: data.between(column, start, stop)
            for name, column in problem.encoded.columns.items()
            if name != "domain"
        }
        own = problem.encoded._replace(columns=columns)
        parts.append(kept(problem._replace(encoded=own)))
    return np.concatenate(parts)


def without_features(problem: "Shifted") -> "Shifted":
    """The same before they are computed: for plans and shapes alone."""
    base = network_base(problem.base, problem.base.model.width, problem.config)
    return problem._replace(base=base, augment=None)


def network_base(base: Pretrained, width: int, config: ConfigDict) -> Pretrained:
    """What reads features [B width]: a network without weights yet, or nothing."""
    own = network(width, config)
    return base._replace(model=own, params={}, stats={}, preprocess=None)


def abstract_network(base: Pretrained, config: ConfigDict) -> Pretrained:
    """The same by shapes alone; `source` says how wide the features are."""
    made = network_base(base, base.model.width, config)
    params, stats = jax.eval_shape(made.model.init, jax.random.key(0))
    source = base.source | {"features": base.model.width}
    return made._replace(params=params, stats=stats, source=source)


def network(width: int, config: ConfigDict) -> Model:
    """The network over features, of the config's widths; none: they are as they are."""
    widths = tuple(config.shift.network)
    if not widths:
        return frozen_features(width)
    more = {"activation": config.model.activation} if config.model.activation else {}
    rate = max(config.model.dropout, 0.0)
    return mlp(width, widths, rate=rate, **more)
