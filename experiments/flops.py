"""Floating-point operations of the products in a traced program, loops counted out."""

import math
from collections.abc import Iterator
from typing import Any


def products(jaxpr: Any) -> float:
    """2 x multiplications of every matrix product and convolution of a jaxpr.

    The body of a scan counts as often as it runs; of the branches of a condition the
    dearest; the body of a `while` once, as nobody knows how often it runs. XLA's own
    analysis counts every body once.
    """
    closed = getattr(jaxpr, "jaxpr", jaxpr)
    total = 0.0
    for equation in closed.eqns:
        name, given = equation.primitive.name, equation.params
        if name == "dot_general":
            total += _dot(equation)
        elif name == "conv_general_dilated":
            total += _conv(equation)
        elif name == "cond":
            total += max(products(branch) for branch in given["branches"])
        else:
            times = given["length"] if name == "scan" else 1
            total += times * sum(products(inner) for inner in _inside(given))
    return total


def _inside(given: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs among an equation's parameters; rules for derivatives are none."""
    for value in given.values():
        if hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns"):
            yield value


def _dot(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    inner = math.prod(left[axis] for axis in contracted)
    return 2.0 * inner * math.prod(equation.outvars[0].aval.shape)


def _conv(equation: Any) -> float:
    kernel = equation.invars[1].aval.shape
    spec = equation.params["dimension_numbers"].rhs_spec
    inner = math.prod(kernel) / kernel[spec[0]]
    return 2.0 * inner * math.prod(equation.outvars[0].aval.shape)
