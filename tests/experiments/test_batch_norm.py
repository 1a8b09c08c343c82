"""A ResNet's study under `config.mesh.batch_norm`, on devices and in processes."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from several import command, ended, pair, records, same

HALVES = ("--config.mesh.host_devices=2",)
EIGHT = ("--config.mesh.host_devices=8",)
REPLICA = ("--config.mesh.batch_norm=replica",)
WEIGHTS = "full/0/model.safetensors"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes of 20 small pictures."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for kind in range(3):
        (folder / "abc"[kind]).mkdir()
        for i in range(20):
            noise = rng.integers(0, 128, (24, 24, 3))
            noise[..., kind] += 100
            picture = Image.fromarray(noise.astype(np.uint8))
            picture.save(folder / "abc"[kind] / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def begin(golden, photos):
    """Starts a study of full fine-tuning."""

    def begin(workdir, *more):
        return command(
            "--config=configs/finetune_image.py:full",
            f"--config.model.spec={golden}/vision/resnet_basic",
            f"--config.data.source={photos}",
            "--config.data.size=16",
            "--config.augment=()",
            "--config.steps=6",
            "--config.every.log=1",
            "--config.every.evaluate=3",
            "--config.batch_size=16",
            "--config.eval_batch_size=16",
            "--config.resamples=10",
            "--config.optimiser.name=sgd",
            "--config.strategies.full.rate=1e-2",
            f"--workdir={workdir}",
            *more,
        )

    return begin


@pytest.fixture(scope="module")
def found(begin, tmp_path_factory):
    """Finished studies by name."""
    folder = tmp_path_factory.mktemp("norms")
    ended(begin(folder / "one"))
    ended(begin(folder / "eight", *EIGHT))
    ended(begin(folder / "replica", *HALVES, *REPLICA))
    ended(*pair(begin, folder / "two"))
    ended(*pair(begin, folder / "two replica", *REPLICA))
    return folder


def weights_agree(found, one, other):
    """Weights and statistics, by the largest value of each."""
    first, second = (load_file(found / name / WEIGHTS) for name in (one, other))
    assert first.keys() == second.keys()
    assert any(path.startswith("stats/") for path in first)
    for path, value in first.items():
        far = np.abs(second[path] - value).max()
        assert far <= 1e-5 * np.abs(value).max(), path


@pytest.mark.parametrize("other", ["eight", "two"])
def test_global_statistics_are_those_of_one_device(found, other):
    same(found / "one", found / other, "full")
    weights_agree(found, "one", other)


def test_a_replica_is_a_device_or_a_process(found):
    same(found / "replica", found / "two replica", "full")
    weights_agree(found, "replica", "two replica")
    losses = [records(found / name, "full")[0]["loss"] for name in ("one", "replica")]
    assert abs(losses[0] / losses[1] - 1) > 1e-3


def test_the_layout_may_change_on_resume_but_not_the_norm(found, begin):
    ended(begin(found / "one", *EIGHT, "--config.mesh.axes=fsdp"))
    (output,) = ended(begin(found / "one", *EIGHT, *REPLICA), code=2)
    assert "mesh.batch_norm: 'global' there, 'replica' asked for" in output
