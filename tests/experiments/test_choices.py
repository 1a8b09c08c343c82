"""Choices of a config that pass straight to the model's loading."""

import pytest

from configs import base
from experiments.backbone import options_of
from tl_jax.tree import NoMatch


def test_rules_and_form_reach_the_loading(golden):
    config = base.get_config()
    config.model.spec = str(golden / "vision" / "mobilenet")
    plain = options_of(config, None)
    assert not plain.keys() & {"rules", "form"}
    config.model.rules, config.model.form = "auto", "taps"
    assert options_of(config, None) == plain | {"rules": "auto", "form": "taps"}


@pytest.mark.parametrize(
    ("field", "value", "near"),
    [("rules", "hnad", "hand"), ("form", "tap", "taps")],
)
def test_an_unknown_choice_names_its_field_and_the_nearest(field, value, near):
    config = base.get_config()
    config.model[field] = value
    said = f"config.model.{field} {value!r} matches nothing; nearest: {near}"
    with pytest.raises(NoMatch, match=said):
        options_of(config, None)
