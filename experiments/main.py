"""Run a study: python -m experiments.main --config configs/X.py[:arg] --workdir DIR.

Any field of the config can be set: --config.steps=100
--config.strategies.lora.rate=1e-3 --config.run=lora,full --config.seeds=0,1.
The same command goes on where a killed one stopped. `--help` lists the flags,
configs/base.py every field.

Exit codes: 0 done, 1 a run failed, 2 a bad flag, config, file or folder,
75 stopped by a signal after saving: run the same command again.
"""

import signal
import sys
import threading
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments.allocator import keep_memory

BAD, FAILED, STOPPED = 2, 1, 75


def parse(argv: list[str]) -> tuple[ConfigDict, Path]:
    """Config and workdir of a command line; raises SystemExit for `--help`."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config",
        help_string="A file of configs/, with an argument for it: configs/X.py:arg.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder of the results; an interrupted study in it goes on.",
        flag_values=values,
    )
    flags.DEFINE_bool("help", False, "Show this text.", flag_values=values)
    rest = values(argv)
    if values.help:
        print(f"{__doc__}\n{values.main_module_help() or values.get_help()}")
        raise SystemExit(0)
    if len(rest) > 1:
        raise flags.Error(f"what is {rest[1]!r}? Flags begin with --")
    for name in ("config", "workdir"):
        if values[name].value is None:
            raise flags.Error(f"--{name} is missing; see --help")
    return values.config, Path(values.workdir).expanduser().absolute()


def fail(error: Exception, code: int) -> int:
    """One screen on stderr: what was wrong."""
    text = str(error) or type(error).__name__
    if isinstance(error, (AttributeError, KeyError)) and error.args:
        text = str(error.args[0])
    print(f"error: {text.strip()}", file=sys.stderr)
    return code


def asked_to_stop() -> threading.Event:
    """Set by SIGTERM or SIGINT; a second one ends the process at once."""
    event = threading.Event()

    def note(number: int, frame: object) -> None:
        if event.is_set():
            signal.default_int_handler(number, frame)
        event.set()
        print("stopping after this step; saving", file=sys.stderr)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return event


def main(argv: list[str]) -> int:
    """The whole command; returns its exit code."""
    try:
        config, workdir = parse(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, OSError) as error:
        return fail(error, BAD)
    if config.get("allocator") == "keep":
        keep_memory()  # before anything large is allocated
    from experiments.compiled import use_cache
    from experiments.launch import study
    from experiments.loop import NotFinite, Stopped
    from tl_jax.checkpoint import CheckpointError

    use_cache()
    event = asked_to_stop()
    try:
        study(config, workdir, argv, event.is_set)
    except Stopped as error:
        return fail(error, STOPPED)
    except (NotFinite, CheckpointError) as error:
        return fail(error, FAILED)
    except (ValueError, OSError) as error:
        return fail(error, BAD)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
