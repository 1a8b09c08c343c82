"""learn2learn from its source, which runs where its wheel can't be built.

Its packages import gym, pytorch_lightning and compiled extensions when they are
imported themselves. Only single modules of it are needed here, and those need torch
alone; so the packages stand in `sys.modules` as empty shells that know their folder.
"""

import importlib
import importlib.util
import sys
from itertools import accumulate
from types import ModuleType

LEARN2LEARN = "learn2learn"
HOW = (
    "pip download --no-deps --no-binary :all: learn2learn==0.2.0, unpack it, and put "
    "its folder onto PYTHONPATH"
)
"""How to get it: pip can't install it for Python 3.11."""
HOWS = {LEARN2LEARN: HOW}
"""Module -> how to get it, where the extra `parity` does not bring it."""


def learn2learn(part: str) -> ModuleType:
    """Its module `learn2learn.<part>`; raises ModuleNotFoundError with how to get it.

    It takes an installed learn2learn, too.
    """
    whole = f"{LEARN2LEARN}.{part}"
    for name in accumulate(whole.split(".")[:-1], "{}.{}".format):
        if name not in sys.modules:
            sys.modules[name] = _shell(name)
    found = sys.modules[LEARN2LEARN]
    if not hasattr(found, "__version__"):
        found.__version__ = importlib.import_module("learn2learn._version").__version__
    return importlib.import_module(whole)


def _shell(name: str) -> ModuleType:
    """A package that finds its modules but has not run its own `__init__`."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"{name} is not to be found: {HOW}", name=name)
    shell = ModuleType(name)
    shell.__spec__, shell.__path__ = spec, list(spec.submodule_search_locations)
    return shell
