"""DomainBed's rules of selection, against its own code and by hand."""

import numpy as np
import pytest

from tl_jax.metrics.selection_rules import (
    RULES,
    leave_one_domain_out,
    oracle,
    training_domain,
)


@pytest.fixture(scope="module")
def theirs(golden):
    with np.load(golden / "generalisation.npz") as file:
        return {n[7:]: file[n] for n in file.files if n.startswith("chosen/")}


def test_choices_are_domainbeds(theirs):
    """Each tells the accuracy in domain 0 of what it chose."""
    inside, out, held = (theirs[name] for name in ("in", "out", "held"))
    for name, chosen in (
        ("training", training_domain(out[..., 1:])),
        ("held_out", leave_one_domain_out(held[..., 1:])),
        ("oracle", oracle(out[..., 0])),
    ):
        got = inside[chosen.run, chosen.step, 0]
        np.testing.assert_allclose(got, theirs[name], rtol=1e-12)


def test_by_hand():
    scores = np.array([[[0.1, 0.9], [0.6, 0.6]], [[1.0, 0.1], [0.7, np.nan]]])
    assert training_domain(scores) == (0, 1, pytest.approx(0.6))
    assert leave_one_domain_out(scores) == (0, 1, pytest.approx(0.6))
    assert oracle([[0.9, 0.2], [0.1, 0.3]]) == (1, 1, 0.3)
    assert training_domain(np.ones((2, 2, 1))) == (0, 0, 1.0)


def test_mistakes_are_told():
    with pytest.raises(ValueError, match=r"scores are \[2, 3\], expected \[runs steps"):
        RULES["training_domain"](np.zeros((2, 3)))
    with pytest.raises(ValueError, match="oracle: every choice"):
        RULES["oracle"]([[0.5, np.nan]])
