"""The types that everybody speaks: models, plans, players, states, algorithms.

Axis letters, here and everywhere: B batch, T tokens, D width, H heads, C classes,
K tasks, N examples.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Key = jax.Array
"""A typed key, as `jax.random.key` makes it."""
Params = dict[str, Any]
"""Nested dicts of arrays; a patch node may stand under `site["patch"][name]`."""
Rates = dict[str, Any]
"""The structure of `Params` with a Python float a leaf: 0 is frozen."""
Stats = dict[str, Any]
"""Batch-norm statistics by site, `{}` where a model has none."""
Metrics = dict[str, Array]
"""Flat: `player/name` or `stream/name` -> scalar."""
Stream = Mapping[str, Any]
"""`{"inputs": dict, "labels": [B ...], "weight": [B], "index": [B]}`."""
Batch = Mapping[str, Stream]
"""Stream name -> stream; the supervised stream is `train`."""
Augment = Callable[[Key, Stream], Stream]
"""`(key, stream) -> stream`: pictures stay [B H W C], float32 in 0..255."""


class Outputs(NamedTuple):
    """What a model returns; XLA drops what nobody reads."""

    features: Array
    """[B D] one vector an example."""
    logits: Array | None = None
    """[B C], or [B T C] for a head over tokens; None without a head."""
    tokens: Array | None = None
    """[B T D] the last hidden state."""
    hidden: tuple[Array, ...] | None = None
    """Every hidden state, the embedding's first."""
    written: Array | None = None
    """[B T] tokens that the model wrote, where it was asked to."""


class Cache(NamedTuple):
    """What a model keeps of the tokens so far."""

    rows: Any
    """Leaves [B ...], one row a sequence: a search repeats and reorders them."""
    shared: Any
    """What a search leaves alone: counters, what all sequences of an example look
    at. A step of B*K tokens is one of K sequences an example."""


class Decoder(NamedTuple):
    """How a model goes on, token by token; pure, for the inside of a loop."""

    start: Callable[[Params, Mapping[str, Any], int], tuple[Array, Cache]]
    """`(params, inputs, length) -> (logits [B V], cache)`: reads all that is given;
    `length` tokens may follow."""
    step: Callable[[Params, Cache, Array], tuple[Array, Cache]]
    """`(params, cache, tokens [B]) -> (logits [B V], cache)` of the next ones."""


class Model(NamedTuple):
    """A model as pure functions; no algorithm knows which one it has."""

    init: Callable[[Key], tuple[Params, Stats]]
    apply: Callable[..., tuple[Outputs, Stats]]
    """`apply(params, stats, inputs, *, key=None, norm="running" | "batch" | "own")`."""
    width: int
    """D of the features: what a head or a critic needs."""
    decode: Decoder | None = None
    """Of models that write: start and step with a cache."""


class Plan(NamedTuple):
    """Which weights exist and which of them move.

    `params` and `rates` have one structure; a rate of 0 freezes its leaf, any other
    multiplies the learning rate.
    """

    params: Params
    rates: Rates
    stats: Stats


class Transfer(Protocol):
    """A change of plan. Every method that says what moves is one of these."""

    def __call__(self, key: Key, plan: Plan) -> Plan: ...


class Patch(Protocol):
    """New computation, applied because it is present in the tree.

    A registered frozen dataclass under `site["patch"][name]`. `point` says which
    value of the layer it maps; `rates` gives the initial rate of its fields (1 where
    a field is not named).
    """

    point: str
    rates: Mapping[str, float]

    def __call__(
        self, site: Params, value: Any, *, x: Any = None, key: Key | None = None
    ) -> Any: ...


class Player(NamedTuple):
    """One participant of an algorithm: a model, what of it moves, and how."""

    model: Model
    plan: Plan
    tx: Any
    """An `optax.GradientTransformation`; the plan's rates scale its updates."""


class State(NamedTuple):
    """All that a step changes, and so all that is donated and saved."""

    step: Array
    train: dict[str, Params]
    """Player -> leaves that move, None where a leaf is frozen."""
    opt: dict[str, Any]
    """Player -> groups of leaves with an optax state each."""
    memory: dict[str, Any]
    """Queues, teachers, running statistics, counters."""


Frozen = dict[str, Params]
"""Player -> the leaves that do not move: an argument beside the state."""
Objective = Callable[
    [Mapping[str, Params], dict[str, Any], Batch, Key],
    tuple[Array, tuple[dict[str, Any], Metrics]],
]
"""`(params_of, memory, batch, key) -> (value, (memory, metrics))`."""
GradientRule = Callable[[Callable, Any, Batch, Key], tuple[tuple[Array, Any], Any]]
"""`(f, train, batch, key) -> ((value, aux), grads)` for `f(train, batch, key)`."""


class Stage(NamedTuple):
    """A part of a step. `init` gives what the stage keeps in `memory`."""

    init: Callable[[Key, dict[str, Params], dict[str, Params]], dict[str, Any]]
    """`(key, train, frozen) -> memory`, by name."""
    step: Callable[[State, Frozen, Batch, Key], tuple[State, Metrics]]


class Algorithm(NamedTuple):
    """How a run goes: pure, jittable, vmappable."""

    init: Callable[[Key, Mapping[str, Player]], tuple[State, Frozen]]
    step: Callable[[State, Frozen, Batch, Key], tuple[State, Metrics]]
    predict: Callable[[State, Frozen, Batch], Outputs]
    """All that an evaluator sees."""


class Pretrained(NamedTuple):
    """Weights with all that must travel with them."""

    model: Model
    params: Params
    stats: Stats
    preprocess: Callable | None = None
    tokenizer: Any = None
    source: Mapping[str, Any] = {}
    """`spec` and content `hash`: what a checkpoint names as its base."""
