"""Devices and processes of a run, as a config and the command line name them."""

from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict

from tl_jax import distribute
from tl_jax.distribute import Layout


def define_flags(values: flags.FlagValues) -> None:
    """The flags of a run of several processes."""
    flags.DEFINE_string(
        "cluster",
        "",
        f"How processes find each other: {', '.join(distribute.DETECTED)}.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "coordinator", "", "host:port of process 0, by hand.", flag_values=values
    )
    flags.DEFINE_integer(
        "processes", 0, "How many processes run this command.", flag_values=values
    )
    flags.DEFINE_integer(
        "process", -1, "Which of them this one is, from 0.", flag_values=values
    )


def cluster_named(values: flags.FlagValues) -> distribute.Cluster | None:
    """The cluster that flags or the environment name; raises ValueError."""
    return distribute.cluster_of(
        values.coordinator, values.processes, values.process, values.cluster
    )


def start(config: ConfigDict, cluster: distribute.Cluster | None) -> None:
    """Open the devices that the config asks for and join the other processes.

    Raises `Lost` if the processes don't meet.
    """
    count = config.mesh.host_devices if "mesh" in config else 0
    if count:
        jax.config.update("jax_num_cpu_devices", count)
    if cluster is not None:
        distribute.connect(cluster)


def devices_for(config: ConfigDict) -> int:
    """How many devices the config's mesh asks for; 0 where it takes all there are."""
    return config.mesh.host_devices or distribute.mesh_size(config.mesh.axes)


def pretend(count: int) -> None:
    """Let the CPU look like so many devices; 0 leaves what there is."""
    if count:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)


def rules_of(config: ConfigDict) -> tuple[distribute.Rule, ...]:
    """`config.mesh.rules` as rules; raises ValueError for what is none."""
    found = []
    for i, rule in enumerate(config.mesh.rules):
        at = f"config.mesh.rules[{i}]"
        pair = isinstance(rule, tuple | list) and len(rule) == 2
        if not pair or not isinstance(rule[0], str):
            raise ValueError(f"{at} is {rule!r}, expected (path, axes)")
        axes = (rule[1],) if isinstance(rule[1], str) else tuple(rule[1])
        found.append((rule[0], axes))
    return tuple(found)


def make_layout(config: ConfigDict, devices: Any = None) -> Layout:
    """The mesh of all devices and its rules.

    Raises ValueError for axes or rules that can't be, and for batches whose rows don't
    divide over the mesh.
    """
    try:
        made = distribute.layout(config.mesh.axes, rules_of(config), devices)
    except ValueError as error:
        raise ValueError(f"config.mesh: {error}") from error
    parts = made.batch_parts
    micro = config.batch_size // config.accumulate
    for name, rows in (("batch_size", micro), ("eval_batch_size", None)):
        rows = config[name] if rows is None else rows
        if rows % parts:
            each = " a microbatch" if name == "batch_size" else ""
            raise ValueError(
                f"config.{name} gives {rows} rows{each}, which do not divide over the "
                f"{parts} parts of config.mesh.axes {config.mesh.axes!r}: {made.axes}"
            )
    return made
