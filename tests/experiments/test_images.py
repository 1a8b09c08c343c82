"""Studies of pictures, from a folder to a report and to labels of new pictures."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from interrupted import ends, sound, start, wait_until
from PIL import Image
from safetensors.numpy import load_file, save_file
from tiny_images import EDGE, answers, flags_of, pixels

from experiments import predict, store
from experiments.main import main
from tl_jax import pretrained
from tl_jax.tree import flatten

pytestmark = pytest.mark.usefixtures("own_cache")
STRATEGIES = ("linear_probe", "partial", "full", "from_scratch", "last_stage")


@pytest.fixture(scope="module")
def study(model, photos, tmp_path_factory):
    """The workdir of all strategies of configs/finetune_image.py, run to the end."""
    workdir = tmp_path_factory.mktemp("study") / "runs"
    assert main(["main", *flags_of(model, photos, workdir, ",".join(STRATEGIES))]) == 0
    return workdir


@pytest.fixture(scope="module")
def base(model):
    """`path -> leaf` of the pretrained weights, statistics below `stats/`."""
    loaded = pretrained.load(model)
    return flatten(loaded.params) | flatten({"stats": loaded.stats})


def result(workdir, strategy):
    return json.loads((workdir / strategy / "0" / "result.json").read_text())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_ends_with_scores(strategy, study):
    found = result(study, strategy)
    assert found["steps"] == (0 if strategy == "linear_probe" else 24)
    low, high = found["test"]["intervals"]["accuracy"]
    assert low <= found["test"]["accuracy"] <= high
    if strategy == "linear_probe":
        assert found["test"]["accuracy"] > 0.6


def test_the_report_has_the_table_and_grids_of_mistakes(study):
    page = (study / "report.html").read_text()
    assert "<table" in page
    for title in ("Linear probe", "Partial freezing", "Full fine-tuning", "Last stage"):
        assert title in page
    for strategy in STRATEGIES:
        saved = np.load(study / strategy / "0" / "predictions.npz")
        wrong = int((saved["predictions"] != saved["labels"]).sum())
        kept = np.load(study / strategy / "0" / "mistakes.npz")
        assert int(kept["wrong"]) == len(kept["pictures"]) == wrong
    wrong = len(np.load(study / "full" / "0" / "mistakes.npz")["pictures"])
    assert wrong > 0
    assert f"Grid of {wrong} test pictures of Full fine-tuning" in page


def moved(workdir, strategy, base):
    """Paths that a run saved, split by whether their bytes differ from the base."""
    saved = load_file(workdir / strategy / "0" / store.MODEL)
    same = {
        path
        for path, leaf in saved.items()
        if path in base and np.array_equal(leaf, base[path])
    }
    return set(saved) - same, same


def statistics(base, *below):
    return {p for p in base if p.startswith(tuple(f"stats/{at}" for at in below))}


def test_statistics_of_a_fully_tuned_network_move_and_are_saved(study, base):
    changed, same = moved(study, "full", base)
    assert not same
    assert changed >= statistics(base, "embed", "blocks")
    assert len(statistics(base, "")) == 2 * 11


def test_the_classic_example_trains_the_last_stage_and_the_head(study, base):
    changed, same = moved(study, "last_stage", base)
    last = {path for path in base if path.startswith(("blocks/2/", "blocks/3/"))}
    moving = statistics(base, "blocks/2/", "blocks/3/")
    assert changed == last | moving | {"head/kernel", "head/bias"}
    assert same == statistics(base, "embed", "blocks/0/", "blocks/1/")
    plan = (study / "last_stage" / "0" / "plan.txt").read_text()
    rates = {line.split()[0]: line.split()[-1] for line in plan.splitlines()[2:-1]}
    assert (rates["embed/conv"], rates["blocks/1/conv_2"]) == ("0", "0")
    assert (rates["blocks/3/conv_1"], rates["head"]) == ("0.1", "1")


def test_a_probe_moves_no_statistics(study, base):
    changed, same = moved(study, "linear_probe", base)
    assert changed == {"head/kernel", "head/bias"}
    assert same == statistics(base, "")


def odds(rows):
    return np.asarray([list(row["probabilities"].values()) for row in rows])


@pytest.mark.parametrize("strategy", ["linear_probe", "full", "last_stage"])
def test_predictions_of_a_folder_are_those_of_the_run(
    strategy, study, photos, tmp_path
):
    rows = answers(study, photos, tmp_path / "a.jsonl", f"--strategy={strategy}")
    files = sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.png"))
    assert [row["file"] for row in rows] == files
    saved = np.load(study / strategy / "0" / "predictions.npz")
    wanted = np.asarray(jax.nn.softmax(saved["logits"]))
    np.testing.assert_allclose(odds(rows)[saved["index"]], wanted, atol=1e-5)


def test_predictions_use_the_moved_statistics(study, photos, base, tmp_path):
    """With the base's statistics in the file the answers are others."""
    whole = tmp_path / "runs"
    shutil.copytree(study, whole)
    chosen = ("--strategy=full",)
    before = odds(answers(whole, photos, tmp_path / "a.jsonl", *chosen))
    folder = whole / "full" / "0"
    arrays, header = store.read_model(folder)
    old = {p: np.asarray(base[p]) for p in statistics(base, "")}
    save_file(arrays | old, folder / store.MODEL, {"base": json.dumps(header)})
    after = odds(answers(whole, photos, tmp_path / "b.jsonl", *chosen))
    assert np.abs(before - after).max() > 1e-2


def test_one_picture_of_another_size_is_labelled(study, tmp_path, capsys):
    Image.fromarray(pixels(0, 99, (50, 40))).save(tmp_path / "new.jpg")
    flags = [f"--workdir={study}", f"--input={tmp_path / 'new.jpg'}"]
    assert predict.main(flags) == 0
    assert "new.jpg" in capsys.readouterr().out


def test_a_killed_run_ends_with_the_same_weights_and_statistics(
    study, model, photos, tmp_path
):
    workdir = tmp_path / "runs"
    flags = flags_of(model, photos, workdir, ",".join(STRATEGIES), "--config.run=full")
    compiled = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir}
    killed = start(flags, env=os.environ | compiled)
    folder = workdir / "full" / "0"
    assert wait_until(lambda: sound(folder), killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not store.ended(folder)
    timings = (folder / "timings.jsonl").read_bytes().splitlines()[:4]
    assert main(["main", *flags]) == 0
    # The first steps are those of the killed process: it went on and did not restart.
    assert (folder / "timings.jsonl").read_bytes().splitlines()[:4] == timings
    assert ends(folder) == ends(study / "full" / "0")


def test_pictures_to_predict_that_can_not_be(study, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "none").mkdir()
    for name, said in (
        ("notes.txt", "is none of .png"),
        ("bad.png", "bad.png: no picture"),
        ("none", "no file in it ends in"),
        ("nowhere", "no file or folder"),
    ):
        assert predict.main([f"--workdir={study}", f"--input={tmp_path / name}"]) == 2
        assert said in capsys.readouterr().err


def test_fitted_pictures_are_of_the_size_asked_for(study):
    kept = np.load(study / "full" / "0" / "mistakes.npz")["pictures"]
    assert kept.shape[1:] == (EDGE, EDGE, 3)
