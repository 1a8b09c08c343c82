"""Peers from their sources, where their wheels can't be built or there are none.

The packages of learn2learn import gym, pytorch_lightning and compiled extensions when
they are imported themselves, those of TLlib torchvision, numba and more. Only single
modules are needed here, and those need torch alone or little more; so the packages
stand in `sys.modules` as empty shells that know their folder.
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
TLLIB, TABLES = "tllib", "prettytable"
HOWS = {
    LEARN2LEARN: HOW,
    TLLIB: "clone thuml/Transfer-Learning-Library, and put its folder onto PYTHONPATH",
    TABLES: f"pip install {TABLES}, which {TLLIB}'s metrics import",
}
"""Module -> how to get it, where the extra `parity` does not bring it."""


def learn2learn(part: str) -> ModuleType:
    """Its module `learn2learn.<part>`; raises ModuleNotFoundError with how to get it.

    It takes an installed learn2learn, too.
    """
    _shells(f"{LEARN2LEARN}.{part}")
    found = sys.modules[LEARN2LEARN]
    if not hasattr(found, "__version__"):
        found.__version__ = importlib.import_module("learn2learn._version").__version__
    return importlib.import_module(f"{LEARN2LEARN}.{part}")


def tllib(part: str) -> ModuleType:
    """TLlib's module `tllib.<part>`; raises ModuleNotFoundError with how to get it."""
    _shells(f"{TLLIB}.{part}")
    return importlib.import_module(f"{TLLIB}.{part}")


def _shells(whole: str) -> None:
    """Shells of all packages of a module that were not imported before."""
    for name in accumulate(whole.split(".")[:-1], "{}.{}".format):
        if name not in sys.modules:
            sys.modules[name] = _shell(name)


def _shell(name: str) -> ModuleType:
    """A package that finds its modules but has not run its own `__init__`."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        how = HOWS[name.partition(".")[0]]
        raise ModuleNotFoundError(f"{name} is not to be found: {how}", name=name)
    shell = ModuleType(name)
    shell.__spec__, shell.__path__ = spec, list(spec.submodule_search_locations)
    return shell
