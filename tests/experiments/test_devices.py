"""The same study on one device and eight; dry runs; what is refused."""

import os
import signal
import subprocess
import sys

import pytest
from several import ROOT, STOPPED, ended, same, start, until

from experiments.flops import products


@pytest.fixture(scope="module")
def one(source, tmp_path_factory):
    """An undisturbed run on one device."""
    folder = tmp_path_factory.mktemp("one")
    ended(start(source, folder))
    return folder


@pytest.mark.parametrize("axes", ["data", "fsdp", "data=4,model=2"])
def test_eight_devices_do_what_one_does(axes, source, one, tmp_path):
    eight = "--config.mesh.host_devices=8", f"--config.mesh.axes={axes}"
    ended(start(source, tmp_path / "eight", *eight))
    same(one, tmp_path / "eight")


def test_a_stopped_run_goes_on_under_another_layout(source, one, tmp_path):
    workdir = tmp_path / "moved"
    eight = start(
        source, workdir, "--config.mesh.host_devices=8", "--config.mesh.axes=fsdp"
    )
    until(workdir / "two_phases" / "0" / "records.jsonl", '"step": 4', eight)
    eight.send_signal(signal.SIGTERM)
    output, _ = eight.communicate(timeout=120)
    assert eight.returncode == STOPPED, output
    ended(start(source, workdir))
    same(one, workdir)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.mesh.axes=dat", "nearest: data"),
        ("--config.mesh.axes=data=3", "but there are 1"),
        ("--config.mesh.rules=(('head/.*','fsdp','x'),)", "expected (path, axes)"),
        ("--coordinator=localhost:1", "--processes is missing"),
    ],
)
def test_what_cannot_be_is_one_line(flag, words, source, tmp_path):
    run = start(source, tmp_path / "bad", flag)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 2, output
    assert words in output.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("shape", "axes", "total"),
    [
        ("bert-large", "data=8,fsdp=8", "334,102,538"),
        ("llama-1b", "data=2,fsdp=16,model=2", "1,034,532,874"),
    ],
)
def test_dry_runs_of_64_devices(shape, axes, total):
    line = [sys.executable, "-m", "experiments.main", "--dry_run"]
    line += ["--config=configs/finetune.py:full", f"--config.model.spec=shape:{shape}"]
    line += [f"--config.mesh.axes={axes}", "--config.batch_size=64"]
    line += ["--config.model.stack", "--config.model.remat"]
    environ = os.environ | {"JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, env=environ, timeout=200
    )
    assert run.returncode == 0, run.stderr
    assert f"parameters: {total}, of which {total} move" in run.stdout
    assert "64 devices" in run.stdout
    for word in ("arguments", "temporaries", "peak", "products", "XLA's count"):
        (found,) = [r for r in run.stdout.splitlines() if r.startswith(word)]
        assert float(found.removeprefix(word).split()[0].replace(",", "")) > 0


def test_products_by_hand():
    import jax
    import jax.numpy as jnp
    from jax import lax

    x, w = jnp.ones((5, 7)), jnp.ones((7, 3))
    assert products(jax.make_jaxpr(jnp.dot)(x, w)) == 2 * 5 * 7 * 3
    grad = jax.grad(lambda x, w: (x @ w).sum(), (0, 1))
    assert products(jax.make_jaxpr(grad)(x, w)) == 3 * 2 * 5 * 7 * 3

    def often(w):
        return lax.scan(lambda c, _: (jnp.tanh(c @ w), None), jnp.ones((7, 7)), None, 4)

    assert products(jax.make_jaxpr(often)(jnp.ones((7, 7)))) == 4 * 2 * 7**3
    image, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    numbers = ("NHWC", "HWIO", "NHWC")

    def conv(image, kernel):
        return lax.conv_general_dilated(
            image, kernel, (1, 1), "SAME", dimension_numbers=numbers
        )

    found = products(jax.make_jaxpr(conv)(image, kernel))
    assert found == 2 * (3 * 3 * 3) * (2 * 8 * 8 * 4)


def test_a_rule_that_matches_nothing_is_told(source, tmp_path):
    rules = "--config.mesh.rules=(('blocks/9/.*',('fsdp',)),('head/bias',('fsdp',)))"
    (output,) = ended(start(source, tmp_path / "told", rules))
    assert "'blocks/9/.*' matches nothing" in output
    assert "'head/bias' matches nothing" not in output


def test_a_rule_of_moments_or_statistics_alone_is_not_idle(source, tmp_path):
    rules = "--config.mesh.rules=(('.*/trace/.*',('fsdp',)),('.*/nu/.*',('fsdp',)))"
    (output,) = ended(start(source, tmp_path / "moments", rules))
    assert "'.*/nu/.*' matches nothing" in output  # that is Adam's
    assert "'.*/trace/.*' matches nothing" not in output


def test_help_shows_every_flag(tmp_path):
    line = [sys.executable, "-m", "experiments.main", "--help"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for flag in ("config", "workdir", "cluster", "coordinator", "processes", "process"):
        assert f"\n  --{flag}: " in done.stdout
    assert "\n  --[no]dry_run: " in done.stdout
    for words in ("--config.mesh.axes=data", "Several processes", "--dry_run needs no"):
        assert words in done.stdout
    assert str(ROOT) not in done.stdout
