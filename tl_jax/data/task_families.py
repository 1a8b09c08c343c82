"""Tasks of regression that are made, not drawn from data: sines, lines, processes.

Each is a `draw` for `sampled`. What sets a task apart stands beside its inputs, under
`TOLD`: an oracle reads it, no other learner does.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.data.resident import task_keys
from tl_jax.data.task_numbers import at_least
from tl_jax.types import Array, Batch, Key, Stream

TOLD = "told"
"""The input that holds a task's parameters."""
Parameters = Mapping[str, Array]
"""What sets a task apart, a leaf a parameter."""


class Family(NamedTuple):
    """Tasks y = f(x; parameters) + noise; make one with `sinusoid` and its like.

    Called with (resident, task) it is a `draw`: task is {"index" [K], "weight" [K]},
    and a task is a function of seed (the task's "seed", else the resident's, else 0)
    and index. `resident` may be empty.
    """

    sample: Callable[[Key], Parameters]
    """The parameters of one task."""
    curve: Callable[[Parameters, Array], Array]
    """(parameters of one task, x [B 1]) -> y [B 1] without noise."""
    inputs: Callable[[Key, Parameters, int], Array]
    """(key, parameters, B) -> x [B 1]."""
    span: Callable[[Parameters], tuple[Any, Any]]
    """Where a grid of queries begins and ends."""
    shots: int
    queries: int
    noise: float = 0.0
    """Standard deviation."""
    grid: bool = False
    """Queries at even distances, without noise: for figures."""
    told: tuple[str, ...] = ()
    """Names of the parameters that `TOLD` holds, flattened, one after another."""

    def __call__(self, resident: Mapping[str, Any], task: Stream) -> Batch:
        """{"support", "query"}: inputs {"features" [K B 1], "told" [K B P]}, labels
        [K B 1]."""
        keys = task_keys(resident, task)
        told, found = jax.vmap(self.tell)(keys), jax.vmap(self.one)(keys)
        return {
            side: _stream(x, told, y, task)
            for side, (x, y) in zip(("support", "query"), found, strict=True)
        }

    def tell(self, key: Key) -> Array:
        """[P] what sets the task of a key apart; P is 0 where nothing does."""
        own = self.sample(_key(key, 0))
        return jnp.concatenate([jnp.zeros(0), *(own[n].ravel() for n in self.told)])

    def parameters(self, resident: Mapping[str, Any], task: Stream) -> Parameters:
        """The parameters [K ...] of the tasks that such a call draws."""
        return jax.vmap(lambda key: self.sample(_key(key, 0)))(
            task_keys(resident, task)
        )

    def one(self, key: Key) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """One task: ((x, y) of the support set, (x, y) of the queries), [B 1] each."""
        own = self.sample(_key(key, 0))
        x = self.inputs(_key(key, 1), own, self.shots + self.queries)
        if self.grid:
            query = jnp.linspace(*self.span(own), self.queries)[:, None]
            x = x.at[self.shots :].set(query)
        y = self.curve(own, x)
        if self.noise:
            noise = self.noise * jax.random.normal(_key(key, 2), x.shape)
            y += noise.at[self.shots :].set(0) if self.grid else noise
        cut = self.shots
        return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def sinusoid(
    shots: int = 10, queries: int = 10, *, noise: float = 0.0, grid: bool = False
) -> Family:
    """y = amplitude sin(x - phase) (Finn et al., 2017).

    amplitude uniform in [.1, 5), phase in [0, pi), x in [-5, 5). The published figures
    average over 600 tasks. Parameters "amplitude", "phase" [K]. Raises ValueError for
    fewer than one shot or query and for negative noise.
    """

    def sample(key: Key) -> Parameters:
        return _uniforms(key, amplitude=(0.1, 5), phase=(0, jnp.pi))

    def curve(own: Parameters, x: Array) -> Array:
        return own["amplitude"] * jnp.sin(x - own["phase"])

    made = _family(sample, curve, (-5.0, 5.0), shots, queries, noise, grid)
    return made._replace(told=("amplitude", "phase"))


def linear(
    shots: int = 10, queries: int = 10, *, noise: float = 0.3, grid: bool = False
) -> Family:
    """y = slope x + intercept, as among sines (Finn, Xu and Levine, 2018).

    slope and intercept uniform in [-3, 3), x in [-5, 5), noise of .3. Parameters
    "slope", "intercept" [K]. Raises ValueError as `sinusoid`.
    """

    def sample(key: Key) -> Parameters:
        return _uniforms(key, slope=(-3, 3), intercept=(-3, 3))

    def curve(own: Parameters, x: Array) -> Array:
        return own["slope"] * x + own["intercept"]

    made = _family(sample, curve, (-5.0, 5.0), shots, queries, noise, grid)
    return made._replace(told=("slope", "intercept"))


def harmonic(
    shots: int = 10, queries: int = 10, *, noise: float = 0.1, grid: bool = False
) -> Family:
    """y = a_1 sin(w x + b_1) + a_2 sin(2 w x + b_2) (Lacoste et al., 2018).

    a normal, w uniform in [5, 7), b in [0, 2 pi), x normal about a centre of the task,
    uniform in [-4, 4); a grid goes 3 to both sides. Parameters "amplitude" [K 2],
    "frequency" [K], "phase" [K 2], "centre" [K]. Raises ValueError as `sinusoid`.
    """

    def sample(key: Key) -> Parameters:
        ranges = dict(frequency=(5, 7), centre=(-4, 4))
        turn = (0, 2 * jnp.pi)
        own = _uniforms(_key(key, 0), **ranges, first=turn, second=turn)
        phase = jnp.stack([own.pop("first"), own.pop("second")])
        amplitude = jax.random.normal(_key(key, 1), (2,))
        return {"amplitude": amplitude, "phase": phase, **own}

    def curve(own: Parameters, x: Array) -> Array:
        angle = own["frequency"] * x * jnp.array([1, 2]) + own["phase"]
        return (own["amplitude"] * jnp.sin(angle)).sum(-1, keepdims=True)

    def inputs(key: Key, own: Parameters, count: int) -> Array:
        return own["centre"] + jax.random.normal(key, (count, 1))

    def span(own: Parameters) -> tuple[Array, Array]:
        return own["centre"] - 3, own["centre"] + 3

    made = _family(sample, curve, (0.0, 1.0), shots, queries, noise, grid)
    told = "amplitude", "frequency", "phase", "centre"
    return made._replace(inputs=inputs, span=span, told=told)


def gaussian_process(
    shots: int = 10,
    queries: int = 50,
    *,
    lengths: tuple[float, float] = (0.1, 0.6),
    heights: tuple[float, float] = (0.1, 1.0),
    noise: float = 0.02,
    jitter: float = 1e-4,
    grid: bool = False,
) -> Family:
    """y ~ GP(0, height^2 exp(-|x - x'|^2 / (2 length^2))) (Garnelo et al., 2018).

    Length scale and height are uniform in their ranges, x in [-2, 2), as of Kim et al.
    (2019). y = L z, L the Cholesky factor of the kernel with `jitter` height^2 on its
    diagonal: support and queries are of one draw, so `curve` goes with these x alone.
    Parameters "length", "height" [K] and "normal" [K B 1], the z; an oracle is the
    posterior of the first two. Raises ValueError as `sinusoid`, and for ranges and
    jitter that are not positive.
    """
    for name, (low, high) in dict(lengths=lengths, heights=heights).items():
        if not 0 < low <= high:
            raise ValueError(f"{name} is {(low, high)}, expected 0 < low <= high")
    if jitter <= 0:
        raise ValueError(f"jitter is {jitter}, expected more than 0")

    def sample(key: Key) -> Parameters:
        z = jax.random.normal(_key(key, 1), (shots + queries, 1))
        own = _uniforms(_key(key, 0), length=lengths, height=heights)
        return {"normal": z, **own}

    def curve(own: Parameters, x: Array) -> Array:
        between = jnp.exp(-(((x - x.T) / own["length"]) ** 2) / 2)
        factor = jnp.linalg.cholesky(between + jitter * jnp.eye(len(x)))
        return own["height"] * (factor @ own["normal"])

    made = _family(sample, curve, (-2.0, 2.0), shots, queries, noise, grid)
    return made._replace(told=("length", "height"))


def _family(
    sample: Callable,
    curve: Callable,
    ends: tuple[float, float],
    shots: int,
    queries: int,
    noise: float,
    grid: bool,
) -> Family:
    """Tasks whose x are uniform between two ends."""
    at_least("shots", shots, 1)
    at_least("queries", queries, 1)
    at_least("noise", noise, 0)

    def inputs(key: Key, own: Parameters, count: int) -> Array:
        return jax.random.uniform(key, (count, 1), minval=ends[0], maxval=ends[1])

    return Family(sample, curve, inputs, lambda own: ends, shots, queries, noise, grid)


def _uniforms(key: Key, **ranges: tuple[float, float]) -> dict[str, Array]:
    low, high = np.array(list(ranges.values()), np.float32).T
    found = jax.random.uniform(key, low.shape) * (high - low) + low
    return dict(zip(ranges, found, strict=True))


def _key(key: Key, number: int) -> Key:
    return jax.random.fold_in(key, number)


def _stream(x: Array, told: Array, y: Array, task: Stream) -> Stream:
    """[K B 1]; `index` counts the rows of an episode, having no source."""
    told = jnp.broadcast_to(told[:, None], (*x.shape[:2], told.shape[-1]))
    weight = jnp.broadcast_to(jnp.asarray(task["weight"])[:, None], x.shape[:2])
    index = jnp.where(weight > 0, jnp.arange(x.shape[1], dtype=jnp.int32), -1)
    inputs = {"features": x, TOLD: told}
    return {"inputs": inputs, "labels": y, "weight": weight, "index": index}
