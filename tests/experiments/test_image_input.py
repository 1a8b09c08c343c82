"""What studies of pictures read: augmentations, data sets of tfds, and bad input."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_images import answers, flags_of, pixels, write_pictures

from experiments import run
from experiments.main import main

pytestmark = pytest.mark.usefixtures("own_cache")


def first_losses(model, source, workdir, augment):
    more = [f"augment={augment}", "steps=2", "every.log=1", "every.evaluate=2"]
    more = [f"--config.{flag}" for flag in more]
    assert main(["main", *flags_of(model, source, workdir, "last_stage", *more)]) == 0
    lines = (workdir / "last_stage" / "0" / "records.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["loss"] for row in rows if row["split"] == "train"]


def test_the_augmentation_of_the_config_is_used(model, photos, tmp_path):
    """To flip every picture in the step is to train on a folder of flipped ones."""
    flipped = write_pictures(tmp_path / "photos", flipped=True)
    flip = "({'augment': 'horizontal_flip', 'p': 1.0},)"
    inside = first_losses(model, photos, tmp_path / "a", flip)
    before = first_losses(model, flipped, tmp_path / "b", "()")
    plain = first_losses(model, photos, tmp_path / "c", "()")
    assert len(inside) == 2
    np.testing.assert_allclose(inside, before, rtol=1e-5)
    assert np.abs(np.subtract(inside, plain)).max() > 2e-3


def file_of(path, kind, number, size, mode):
    Image.fromarray(pixels(kind, number, size)).convert(mode).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "name, shape, mode",
    [("shots", (None, None, 3), "RGB"), ("glyphs", (20, 24, 1), "L")],
)
def test_pictures_of_tfds_by_name(
    name, shape, mode, model, build_tfds, tmp_path, monkeypatch
):
    """Of several sizes, and grey ones of one size, fitted like a folder's."""
    import tensorflow_datasets as tfds

    rows = [
        {"image": file_of(tmp_path / "x.png", i % 3, i, size, mode), "label": i % 3}
        for i in range(36)
        for size in [tuple(n or 20 + 3 * (i % 7) for n in shape[:2])]
    ]
    features = {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
    }
    parts = {"train": rows[:27], "test": rows[27:]}
    build_tfds(tmp_path / "tfds" / name / "1.0.0", features, parts)
    plain = tfds.builder
    monkeypatch.setattr(
        tfds, "builder", lambda name: plain(name, data_dir=tmp_path / "tfds")
    )
    workdir = tmp_path / "runs"
    flags = flags_of(model, f"tfds:{name}", workdir, "linear_probe")
    assert main(["main", *flags]) == 0
    info = json.loads((workdir / "study.json").read_text())
    assert info["data"]["name"] == name
    assert info["data"]["licence"] == "CC-BY-4.0"
    assert (info["classes"], info["data"]["test"]) == (["a", "b", "c"], 9)
    saved = np.load(workdir / "linear_probe" / "0" / "predictions.npz")
    assert sorted(saved["index"].tolist()) == list(range(27, 36))


@pytest.fixture
def refused(model, photos, tmp_path, capsys, monkeypatch):
    """(flags) -> the message of a command that ends with 2 before a run begins."""

    def begun(job):
        raise AssertionError("a run began")

    monkeypatch.setattr(run, "execute", begun)

    def call(*more):
        flags = flags_of(model, photos, tmp_path / "runs", "full", *more)
        assert main(["main", *flags]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert "Traceback" not in said
        assert said.count("\n") <= 4
        assert not (tmp_path / "runs").exists()
        return said

    return call


BAD = {
    "augmentation": (
        "--config.augment=({'augment': 'horizontal_flipp'},)",
        ("config.augment[0]", "'horizontal_flipp'", "nearest: horizontal_flip"),
    ),
    "its argument": (
        "--config.augment=({'augment': 'horizontal_flip', 'q': 1.0},)",
        ("config.augment[0]", "'q'", "nearest: p"),
    ),
    "its value": (
        "--config.augment=({'augment': 'horizontal_flip', 'p': 2.0},)",
        ("config.augment[0]", "p"),
    ),
    "folder": ("--config.data.source=./photoz", ("config.data.source", "./photoz")),
    "background": ("--config.data.background=wihte", ("'wihte'", "white")),
    "damaged": (
        "--config.data.damaged=skipp",
        ("config.data.damaged", "'skipp'", "skip, raise"),
    ),
    "blocks": (
        "--config.run=partial --config.strategies.partial.plan="
        "({'transform':'top','count':9},)",
        ("config.strategies.partial.plan", "top(9)", "4 blocks"),
    ),
    "tfds": ("--config.data.source=tfds:mnits", ("'mnits'", "nearest: mnist")),
    "texts": ("--config.data.source=TEXTS", ("has text but no pictures",)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case, refused, tmp_path):
    flag, named = BAD[case]
    for kind in "ab":
        (tmp_path / "texts" / kind).mkdir(parents=True)
        for i in range(9):
            (tmp_path / "texts" / kind / f"{i}.txt").write_text(f"{kind} {i}")
    flags = flag.replace("TEXTS", str(tmp_path / "texts")).split(" --")
    said = refused(*(f"--{flag.removeprefix('--')}" for flag in flags))
    for part in named:
        assert part in said


def test_a_damaged_picture_is_named_or_left_out(
    refused, photos, model, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    whole = (folder / "b" / "00.png").read_bytes()
    (folder / "b" / "cut.png").write_bytes(whole[: len(whole) // 2])
    source = f"--config.data.source={folder}"
    said = refused(source)
    assert "1 of 43 pictures are damaged" in said
    assert str(folder / "b" / "cut.png") in said
    monkeypatch.undo()
    workdir = tmp_path / "skipped"
    flags = flags_of(model, folder, workdir, "linear_probe")
    assert main(["main", *flags, "--config.data.damaged=skip"]) == 0
    assert "1 of 43 pictures are damaged and left out" in capsys.readouterr().err
    output = tmp_path / "answers.jsonl"
    rows = answers(workdir, folder, output, "--strategy=linear_probe")
    assert len(rows) == 42
    assert "1 pictures are damaged" in capsys.readouterr().err
