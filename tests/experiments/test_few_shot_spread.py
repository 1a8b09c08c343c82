"""Few-shot studies as commands: killed, on eight devices, and in two processes."""

import signal

import numpy as np
import pytest
from interrupted import finish, same_ends, start, wait_for
from several import ROOT, command, ended, pair, records
from tiny_episodes import write_classes

CONFIG = f"--config={ROOT}/tests/experiments/tiny_episodes.py"


def test_a_killed_run_with_two_players_ends_bit_identically(tmp_path):
    flags = [CONFIG, f"--workdir={tmp_path / 'whole'}"]
    finish(flags)
    flags = [CONFIG, f"--workdir={tmp_path / 'killed'}"]
    killed = start(flags)
    wait_for(tmp_path / "killed" / "meta_sgd" / "0" / "timings.jsonl", 5, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    finish(flags)
    runs = [tmp_path / name / "meta_sgd" / "0" for name in ("killed", "whole")]
    assert (runs[1] / "rates.safetensors").is_file()
    same_ends(*runs)


WAVES = "meta_sgd", "maml", "mapped", "reptile"
SHARED = "--config.optimiser.name=sgd", "--config.steps=6"
EIGHT = "--config.mesh.host_devices=8"


def alike(folder, other, strategies):
    """All losses and scores within 1e-5, of the same episodes."""
    for strategy in strategies:
        runs = [records(root, strategy) for root in (folder, other)]
        assert len(runs[0]) > 3
        assert [r["step"] for r in runs[0]] == [r["step"] for r in runs[1]]
        for ours, theirs in zip(*runs, strict=True):
            assert ours["split"] == theirs["split"]
            for name in {"loss", "mse"} & set(theirs):
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
        files = [root / strategy / "0" / "predictions.npz" for root in (folder, other)]
        with np.load(files[0]) as ours, np.load(files[1]) as theirs:
            for name in ("index", "labels"):
                np.testing.assert_array_equal(ours[name], theirs[name])
            np.testing.assert_allclose(ours["logits"], theirs["logits"], 1e-3, 1e-4)


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    """Sine waves on one device."""
    folder = tmp_path_factory.mktemp("waves")
    flags = f"{CONFIG}:maml,mapped,reptile", *SHARED
    ended(command(*flags, f"--workdir={folder}"))
    return flags, folder


def test_sines_on_eight_devices(waves, tmp_path):
    """Tasks at once and one by one, a frozen leaf of the inner loop, Reptile's own."""
    flags, one = waves
    ended(command(*flags, EIGHT, f"--workdir={tmp_path}"))
    alike(tmp_path, one, WAVES)
    for strategy in WAVES:
        own = f"{strategy}/0/adaptation.npz"
        with np.load(one / own) as theirs, np.load(tmp_path / own) as ours:
            for name in theirs:
                np.testing.assert_allclose(ours[name], theirs[name], 1e-3, 1e-5)


def test_sines_in_two_processes(waves, tmp_path):
    flags, one = waves
    ended(*pair(command, *flags, f"--workdir={tmp_path}"))
    alike(tmp_path, one, WAVES)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures by a Conv4 on one device: sampler -> (flags, workdir)."""
    source = write_classes(tmp_path_factory.mktemp("classes"))
    found = {}
    for sampler in ("device", "host"):
        folder = tmp_path_factory.mktemp(sampler)
        flags = f"{CONFIG}:{source}", f"--config.episodes.sampler={sampler}"
        flags = *flags, "--config.optimiser.name=sgd"
        run = ["--config.run=maml"] if sampler == "host" else []
        ended(command(*flags, *run, f"--workdir={folder}"))
        found[sampler] = flags, folder
    return found


def test_a_convolutional_learner_on_eight_devices(pictures, tmp_path):
    """One task a device, with running and with each task's own statistics."""
    flags, one = pictures["device"]
    ended(command(*flags, EIGHT, f"--workdir={tmp_path}"))
    alike(tmp_path, one, ("proto", "maml"))


@pytest.mark.parametrize(("sampler", "name"), [("device", "proto"), ("host", "maml")])
def test_a_convolutional_learner_in_two_processes(sampler, name, pictures, tmp_path):
    """Data resident in each process, or a part of each batch drawn by each."""
    flags, one = pictures[sampler]
    ended(*pair(command, *flags, f"--config.run={name}", f"--workdir={tmp_path}"))
    alike(tmp_path, one, (name,))


def test_samplers_draw_different_episodes_of_one_law(pictures):
    """So that the comparisons above compare two things."""
    first = [records(folder, "maml")[0]["loss"] for _, folder in pictures.values()]
    assert first[0] != first[1]
