"""Processes of one run: how they find each other, agree, and learn of a loss."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from tl_jax.distribute.detect import DETECTED, missing
from tl_jax.tree import no_match

NUMBERS = {
    "coordinator": ("JAX_COORDINATOR_ADDRESS",),
    "processes": ("JAX_NUM_PROCESSES",),
    "process": ("JAX_PROCESS_ID", "JOB_COMPLETION_INDEX"),
}
"""Field of `Cluster` -> environment variables that give it, the first one first; the
last is what Kubernetes sets in an indexed job."""
GONE = re.compile(
    r"gloo|timed out|connection (closed|reset|refused)|broken pipe|heartbeat"
    r"|socket closed|unavailable|another task died|deadline.?exceeded|barrier",
    re.IGNORECASE,
)
"""How JAX's errors read when a process has gone: of gloo and of its own service."""
STATUS = re.compile(
    r"(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED"
    r"|FAILED_PRECONDITION): "
)
"""How such an error begins where JAX raises it as a ValueError."""
MEETING = 24 * 3600
"""Seconds that processes wait for each other's downloads and reports. One that has
gone is noticed by its silence, long before."""
FAREWELL = 5
"""Seconds that a failed process waits for others to fail alike."""


class Lost(RuntimeError):
    """Another process of the run does not answer any more."""


class Cluster(NamedTuple):
    """Which processes belong to a run; `method` where the machine itself says it."""

    coordinator: str | None = None
    """host:port of process 0."""
    processes: int | None = None
    process: int | None = None
    method: str | None = None
    """A key of `DETECTED`."""


def cluster_of(
    coordinator: str = "",
    processes: int = 0,
    process: int = -1,
    method: str = "",
    environ: Mapping[str, str] = os.environ,
) -> Cluster | None:
    """The cluster that flags, else the environment, describe; None for one process.

    Either host:port of process 0, the number of processes and this one's (flags, or
    `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID`; in an indexed job
    of Kubernetes `JOB_COMPLETION_INDEX` stands for the last), or a `method` by which
    JAX finds all three: slurm, mpi, mpi4py, tpu, kubernetes, auto.

    Raises `NoMatch` for an unknown method, ValueError for what is missing or wrong,
    the method's environment among it.
    """
    if method:
        if method not in DETECTED:
            raise no_match("--cluster", method, DETECTED)
        if coordinator or processes or process >= 0:
            raise ValueError(
                f"--cluster={method} finds the processes itself; leave --coordinator, "
                "--processes and --process away"
            )
        if lacking := missing(method, environ):
            raise ValueError(f"--cluster={method}: {lacking}")
        return Cluster(method=method)
    texts = {
        "coordinator": coordinator,
        "processes": str(processes) if processes else "",
        "process": str(process) if process >= 0 else "",
    }
    if not any(texts.values()) and NUMBERS["processes"][0] not in environ:
        return None
    for name, variables in NUMBERS.items():
        known = (environ[v] for v in variables if v in environ)
        texts[name] = texts[name] or next(known, "")
        if not texts[name]:
            raise ValueError(
                f"--{name} is missing; a run of several processes needs --coordinator, "
                f"--processes and --process, or {' or '.join(variables)} for this one"
            )
    return _checked(**texts)


def _checked(coordinator: str, processes: str, process: str) -> Cluster:
    if not re.fullmatch(r"\S+:\d+", coordinator):
        raise ValueError(f"--coordinator is {coordinator!r}, expected host:port")
    for name, text in (("processes", processes), ("process", process)):
        if not text.isdecimal():
            raise ValueError(f"--{name} is {text!r}, expected a whole number")
    if int(process) >= int(processes):
        raise ValueError(
            f"--process is {process}, expected 0 to {int(processes) - 1} as "
            f"--processes is {processes}"
        )
    return Cluster(coordinator, int(processes), int(process))


def connect(cluster: Cluster, *, patience: int = 300, silence: int = 30) -> None:
    """Join the run's processes. Call it before anything that asks for devices.

    Waits `patience` seconds for all of them; later, one that is silent for `silence`
    seconds ends all. CPUs talk by gloo. Raises `Lost` where they don't come together.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    method = DETECTED.get(cluster.method)
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.processes,
            cluster.process,
            initialization_timeout=patience,
            heartbeat_timeout_seconds=silence,
            cluster_detection_method=method,
        )
    except Exception as error:
        raise Lost(_not_joined(cluster, patience, error)) from error


def _not_joined(cluster: Cluster, patience: int, error: Exception) -> str:
    told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if cluster.method is not None:
        return f"--cluster={cluster.method}: the processes did not meet: {told}"
    return (
        f"process {cluster.process} of {cluster.processes} could not join "
        f"{cluster.coordinator} within {patience} s: {told}"
    )


def lost(error: BaseException) -> Lost | None:
    """A clear error if this one comes of a collective call to a process that has gone.

    Only JAX's own errors say so; others count where one of those was their cause.
    """
    if isinstance(error, Lost) or jax.process_count() == 1:
        return None
    for cause in _causes(error):
        text = " ".join(str(cause).split())
        of_jax = isinstance(cause, jax.errors.JaxRuntimeError) or STATUS.match(text)
        if of_jax and GONE.search(text):
            break
    else:
        return None
    return Lost(
        f"process {jax.process_index()} of {jax.process_count()} lost another one: it "
        "was killed, its machine went away, or it ended with an error of its own (see "
        "its output). Start all processes again with the same command: they go on from "
        f"the newest checkpoint. ({text[:160]})"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it came of, those behind a `from None` too."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_first() -> bool:
    """True for the process that writes what all of them would write alike."""
    return jax.process_index() == 0


def agree(flag: bool) -> bool:
    """True on all processes if it is on one; all of them must call it."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array([flag])).any())


def meet(name: str, seconds: float = MEETING) -> None:
    """Wait until all processes are here; a name serves once.

    By the service that joined them, with a limit of its own: a download may take longer
    than a collective call waits.
    """
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost

        wait = multihost.get_barrier_sync_fn()
        wait(key=f"tl_jax {name}", timeout_ms=int(seconds * 1000))


def leave() -> None:
    """Take leave of the other processes, which do the same; then each may end.

    A process that ends without it takes the others with it.
    """
    try:
        jax.distributed.shutdown()
    except jax.errors.JaxRuntimeError:  # one has gone: nobody waits for us
        return


def part() -> None:
    """Give the others a moment to fail of the same, so that each says what it saw."""
    try:
        meet("failed", FAREWELL)
    except jax.errors.JaxRuntimeError:  # they did not: it was ours alone
        return
