"""Run a study: python -m experiments.main --config configs/X.py[:arg] --workdir DIR.

Any field of the config can be set: --config.steps=100
--config.strategies.lora.rate=1e-3 --config.run=lora,full --config.seeds=0,1.
The same command goes on where a killed one stopped. `--help` lists the flags,
configs/base.py every field.

All devices of a machine share the work: --config.mesh.axes=data (rows), fsdp (rows and
weights), data=4,model=2 (products too); --config.mesh.host_devices=8 makes a CPU look
like eight. Several processes run the same command with a workdir that they share: by
hand with --coordinator, --processes and --process, or with --cluster where a scheduler
starts them. --dry_run needs no workdir, data or devices: it compiles for the mesh and
prints bytes and FLOPs a device.

Exit codes: 0 done, 1 a run failed, 2 a bad flag, config, file or folder,
75 stopped by a signal after saving: run the same command again; 130 by a second one,
at once.
"""

import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments.allocator import keep_memory
from experiments.devices import cluster_named, define_flags, devices_for, pretend, start
from experiments.supervise import join_parent, supervise, supervised
from tl_jax.distribute import Lost, leave, lost, part

BAD, FAILED, STOPPED, KILLED = 2, 1, 75, 130
ECHO = 1.0
"""Seconds."""
OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]+)")


class Usage(ValueError):
    """A command line that can't be right."""


def parse(argv: Sequence[str]) -> tuple[ConfigDict, Path, flags.FlagValues]:
    """Config, workdir and flags of a command line; raises SystemExit for `--help`.

    Raises `Usage` naming the flag, with the nearest field or the expected type.
    """
    values = read(argv)
    if values.help:
        print(f"{__doc__}\nFlags:\n{flags_of(values)}")
        raise SystemExit(0)
    for name in ("config", "workdir"):
        if values[name].value is None and not (values.dry_run and name == "workdir"):
            raise Usage(f"--{name} is missing; see --help")
    if not isinstance(values.config, ConfigDict):
        raise Usage(f"--config {config_file(argv)}: there is no such file")
    return values.config, Path(values.workdir or ".").expanduser().absolute(), values


def read(argv: Sequence[str]) -> flags.FlagValues:
    """The flags of a command line; raises `Usage`."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config",
        sys_argv=list(argv),
        help_string="A file of configs/, with an argument for it: configs/X.py:arg.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder of the results; an interrupted study in it goes on.",
        flag_values=values,
    )
    define_flags(values)
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Compile for the mesh from shapes alone; print bytes and FLOPs a device.",
        flag_values=values,
    )
    flags.DEFINE_bool("help", False, "Show this text.", flag_values=values)
    try:
        rest = values(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, OSError) as error:
        raise Usage(explain(error, argv)) from error
    if len(rest) > 1:
        raise Usage(f"what is {rest[1]!r}? Flags begin with --")
    return values


def flags_of(values: flags.FlagValues) -> str:
    """What each flag means, without the modules that define them."""
    told = values.get_help(include_special_flags=False)
    return "\n".join(line for line in told.splitlines() if line.startswith(" "))


def config_file(argv: Sequence[str]) -> str:
    """What the command line gives as `--config`; empty where it is missing."""
    for flag, following in zip(argv, [*argv[1:], ""], strict=True):
        if re.fullmatch(r"--?config(=.*)?", flag):
            return flag.partition("=")[2] or following
    return ""


def explain(error: Exception, argv: Sequence[str]) -> str:
    """What is wrong with a command line, in the user's terms."""
    file, text = config_file(argv), str(error.args[0] if error.args else error)
    overrides = [m[1] for flag in argv[1:] if (m := OVERRIDE.match(flag))]
    if not file:
        return f"--config is missing; see --help ({text})" if overrides else text
    if not overrides:
        if isinstance(error, AttributeError) and "get_config" in text:
            return f"--config {file}: it has no function get_config"
        about_file = not isinstance(error, flags.Error) and file not in text
        return f"--config {file}: {text}" if about_file else text
    known = _fields(read([argv[0], f"--config={file}"]).config)
    for name in overrides:
        if name not in known:
            from tl_jax.tree import nearest

            close = ", ".join(f"--config.{n}" for n in nearest(name, known))
            return f"--config.{name}: {file} has no such field; nearest: {close}"
        if f"--config.{name}=" in text:
            value = known[name]
            if isinstance(value, ConfigDict):
                inside = ", ".join(f"--config.{name}.{field}" for field in value)
                return f"--config.{name} has fields of its own: {inside}"
            return f"{text}; expected {type(value).__name__}, such as {value!r}"
    return text


def _fields(config: Any, at: str = "") -> dict[str, Any]:
    """Every field of a config by its dotted name, parts with fields among them."""
    if not isinstance(config, ConfigDict):
        return {at: config}
    found = {at: config} if at else {}
    for name, value in config.items():
        found |= _fields(value, f"{at}.{name}" if at else name)
    return found


def fail(error: Exception, code: int) -> int:
    """One screen on stderr: what was wrong."""
    print(f"error: {str(error).strip() or type(error).__name__}", file=sys.stderr)
    return code


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Set by SIGTERM or SIGINT; a second one ends the process at once.

    Within `ECHO` seconds it is the same one: schedulers signal a parent, which passes
    it on, and its child.
    """
    event, first = threading.Event(), [0.0]

    def note(number: int, frame: object) -> None:
        if event.is_set():
            if time.monotonic() - first[0] > ECHO:
                signal.default_int_handler(number, frame)
            return
        first[0] = time.monotonic()
        event.set()
        print("stopping after this step; saving", file=sys.stderr)

    numbers = signal.SIGTERM, signal.SIGINT
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def guarded(argv: Sequence[str], work: Callable[..., None]) -> int:
    """Run `work(config, workdir, stop)` for a command line; its exit code."""
    try:
        config, workdir, values = parse(argv)
        cluster = None if values.dry_run else cluster_named(values)
    except ValueError as error:
        return fail(error, BAD)
    if cluster is not None and not supervised():
        return supervise(FAILED)
    if cluster is not None:
        join_parent()
    if config.get("allocator") == "keep":
        keep_memory()  # before anything large is allocated
    try:
        if values.dry_run:
            pretend(devices_for(config))
            work = dry
        else:
            start(config, cluster)
        code = _guarded(config, workdir, work)
        farewell = {0: None, STOPPED: leave}.get(code, part)
    except Lost as error:
        code, farewell = fail(error, FAILED), None
    except ValueError as error:  # of the devices
        code, farewell = fail(error, BAD), None
    except KeyboardInterrupt:
        print("stopped at once, without saving", file=sys.stderr)
        code, farewell = KILLED, None
    return code if cluster is None or not code else end(code, farewell)


def dry(config: ConfigDict, workdir: Path, stop: Callable[[], bool]) -> None:
    """What `--dry_run` does in place of the work."""
    from rich.console import Console

    from experiments.dry_run import dry_run

    dry_run(config, Console(highlight=False, soft_wrap=True))


def end(code: int, farewell: Callable[[], None] | None) -> int:
    """End a process of several at once, after a farewell: others won't wait for us."""
    try:
        if farewell is not None:
            farewell()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


@contextmanager
def told_apart() -> Iterator[None]:
    """Raise `Lost` for any error that comes of another process's end."""
    try:
        yield
    except Exception as error:
        if (told := lost(error)) is None:
            raise
        raise told from error


def _guarded(config: ConfigDict, workdir: Path, work: Callable[..., None]) -> int:
    """`work` with every error in the user's terms; raises `Lost`, KeyboardInterrupt."""
    try:
        from experiments.compiled import use_cache
        from experiments.loop import NotFinite, Stopped
        from tl_jax.checkpoint import CheckpointError

        use_cache()
        try:
            with asked_to_stop() as event, told_apart():
                work(config, workdir, event.is_set)
        except Stopped as error:
            return fail(error, STOPPED)
        except (NotFinite, CheckpointError) as error:
            return fail(error, FAILED)
        except (ValueError, OSError, ImportError) as error:
            return fail(error, BAD)
    except (Lost, KeyboardInterrupt):
        raise
    except BaseException:  # nobody of several may be left waiting, whatever it was
        traceback.print_exc()
        return FAILED
    return 0


def main(argv: Sequence[str]) -> int:
    """The whole command; returns its exit code."""

    def work(config: ConfigDict, workdir: Path, stop: Callable[[], bool]) -> None:
        from experiments.launch import study

        study(config, workdir, list(argv), stop)

    return guarded(argv, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
