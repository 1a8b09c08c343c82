"""Compiled steps: one program for each shape of a batch, counted and timed."""

import time
from collections.abc import Callable
from typing import Any

import jax
from jax import lax

from experiments.evaluate import Predict
from tl_jax.distribute import Layout, gather, place_batch
from tl_jax.types import Algorithm, Frozen, Key, Model, Outputs, State


class Programs:
    """Compiles a function once for each structure of its arguments.

    Keeps what a report asks for: how many programs, the seconds they took to compile,
    and the memory that the largest one needs.
    """

    def __init__(self, function: Callable, donate: tuple[int, ...] = ()) -> None:
        self._jit = jax.jit(function, donate_argnums=donate)
        self._compiled: dict[Any, Any] = {}
        self.seconds = 0.0

    def __call__(self, *args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        kind = (structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
        if kind not in self._compiled:
            start = time.perf_counter()
            self._compiled[kind] = self._jit.lower(*args).compile()
            self.seconds += time.perf_counter() - start
        return self._compiled[kind](*args)

    def lower(self, *args: Any) -> Any:
        """The compiled program for arguments or their shapes; nothing runs."""
        return self._jit.lower(*args).compile()

    def trace(self, *args: Any) -> Any:
        """The jaxpr for arguments or their shapes."""
        return self._jit.trace(*args).jaxpr

    def __len__(self) -> int:
        return len(self._compiled)

    @property
    def bytes(self) -> int:
        """Bytes of arguments, results and temporaries of the largest program."""
        return max((_bytes(program) for program in self._compiled.values()), default=0)


def _bytes(program: Any) -> int:
    """Peak bytes of one program, less what its results share with its arguments."""
    found = program.memory_analysis()
    if found is None:
        return 0
    total = found.argument_size_in_bytes + found.output_size_in_bytes
    return total + found.temp_size_in_bytes - found.alias_size_in_bytes


def training(algorithm: Algorithm, layout: Layout) -> Programs:
    """(state, frozen, batches, key) -> (state, metrics) over batches [K B ...].

    The step's key is the run's folded with the step. The state is donated, and comes
    back laid as it was; metrics are whole on every device.
    """

    def one(state: State, frozen: Frozen, batch: Any, key: Key):
        own = jax.random.fold_in(key, state.step)
        state, metrics = algorithm.step(state, frozen, batch, own)
        return layout.constrain(state), metrics

    def run(state: State, frozen: Frozen, batches: Any, key: Key):
        if len(jax.tree.leaves(batches)[0]) == 1:
            batch = jax.tree.map(lambda leaf: leaf[0], batches)
            state, metrics = one(state, frozen, batch, key)
            metrics = jax.tree.map(lambda leaf: leaf[None], metrics)
        else:
            state, metrics = lax.scan(
                lambda s, b: one(s, frozen, b, key), state, batches
            )
        return state, lax.with_sharding_constraint(metrics, layout.everywhere)

    return Programs(run, donate=(0,))


def predicting(
    algorithm: Algorithm,
    layout: Layout,
    read: Callable[[Outputs], Any] = lambda out: out.logits,
) -> Programs:
    """(state, frozen, batch) -> what `read` takes of the outputs, whole everywhere."""

    def run(state: State, frozen: Frozen, batch: Any) -> Any:
        found = read(algorithm.predict(state, frozen, batch))
        return lax.with_sharding_constraint(found, layout.everywhere)

    return Programs(run)


def applying(model: Model, layout: Layout, read: Callable[[Outputs], Any]) -> Programs:
    """(params, stats, inputs) -> what `read` takes of the outputs, whole everywhere."""

    def run(params: Any, stats: Any, inputs: Any) -> Any:
        found = read(model.apply(params, stats, inputs)[0])
        return lax.with_sharding_constraint(found, layout.everywhere)

    return Programs(run)


def over_streams(layout: Layout, program: Callable[[Any], Any]) -> Predict:
    """`predict(stream)` of `evaluate.predict_all`, over all processes.

    `program(inputs)` runs on the devices; labels, weights and rows come back whole.
    """

    def predict(stream: Any) -> Any:
        if jax.process_count() == 1:
            return program(place_batch(layout, stream["inputs"])), stream
        placed = place_batch(layout, stream)
        kept = {name: leaf for name, leaf in placed.items() if name != "inputs"}
        kept["inputs"] = {n: x for n, x in placed["inputs"].items() if n == "mask"}
        return program(placed["inputs"]), gather(layout, kept)

    return predict
