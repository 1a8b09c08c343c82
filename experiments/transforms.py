"""Functions of the library by name, called with what a config says."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from experiments.measured import TRANSFORMS
from tl_jax import transfer
from tl_jax.tree import no_match
from tl_jax.types import Transfer

NONE: Mapping[str, Any] = MappingProxyType({})


def called(make: Callable, given: Mapping[str, Any], at: str) -> Any:
    """`make(**given)`; raises with the place in the config and the nearest argument."""
    known = inspect.signature(make).parameters
    for argument in given:
        if argument not in known:
            raise no_match(f"{at}: {make.__name__}'s argument", argument, known)
    missing = [
        name for name, p in known.items() if p.default is p.empty and name not in given
    ]
    if missing:
        raise ValueError(
            f"{at}: {make.__name__} needs {', '.join(missing)}; "
            f"found {', '.join(given) or 'nothing'}"
        )
    try:
        return make(**given)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{at}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{at}: {error}") from error


def make_transfer(plan: Any, at: str, given: Mapping[str, Any] = NONE) -> Transfer:
    """The chain of a list of `{"transform": name, argument: value, ...}`.

    A name is one of `tl_jax.transfer`, with a file of `experiments.measure` in place
    of what data tell, or `package.module:function` for a method in a file of its own.
    An argument that no table says is filled from `given`, by name. Raises with the
    place in the config and the nearest name.
    """
    made = []
    for i, step in enumerate(plan):
        where = f"{at}[{i}]"
        if not isinstance(step, Mapping):
            raise ValueError(f"{where} is {step!r}, expected a table of fields")
        step = dict(step)
        if "transform" not in step:
            raise ValueError(
                f"{where}: expected a `transform` among {', '.join(step) or 'nothing'}"
            )
        make = find_transform(step.pop("transform"), where)
        wanted = inspect.signature(make).parameters
        offered = {name: given[name] for name in wanted if name in given}
        made.append(called(make, offered | step, where))
    return transfer.chain(*made)


def find_transform(name: str, at: str) -> Callable[..., Transfer]:
    """A function that returns a `Transfer`, by name."""
    if ":" in name:
        module, _, function = name.partition(":")
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise ValueError(
                f"{at}: module {module!r} does not import: {error}"
            ) from None
        if not hasattr(found, function):
            raise no_match(f"{at}: {module}'s transform", function, dir(found))
        return getattr(found, function)
    known = {
        other: value
        for other, value in vars(transfer).items()
        if callable(value) and _returns_transfer(value)
    } | TRANSFORMS
    if name not in known:
        raise no_match(f"{at}: transform", name, known)
    return known[name]


def _returns_transfer(function: Callable) -> bool:
    try:
        return inspect.signature(function).return_annotation is Transfer
    except (TypeError, ValueError):
        return False
