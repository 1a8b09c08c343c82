"""The same study on one device, eight, and two processes; one of them killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_study import write

from experiments.flops import products

ROOT = Path(__file__).parents[2]
STOPPED = 75


@pytest.fixture(scope="module")
def source(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    (folder / "model").symlink_to(tiny_model)
    write(folder, "classification", ".csv").rename(folder / "rows.csv")
    return folder


def start(source, workdir, *more):
    config = f"{ROOT}/tests/experiments/tiny.py:{source}"
    flags = ["--config", config, "--workdir", str(workdir), *more]
    flags += ["--config.optimiser.name=sgd", "--config.batch_size=8"]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.main", *flags],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def pair(source, workdir):
    """Two processes of one run, on a free port."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = f"--coordinator=localhost:{port}", "--processes=2"
    return [start(source, workdir, *common, f"--process={i}") for i in range(2)]


def ended(*processes):
    """Outputs of processes that must end well."""
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def records(workdir):
    file = workdir / "two_phases" / "0" / "records.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def same(workdir, other):
    """All numbers of two runs within 1e-5."""
    first, second = records(workdir), records(other)
    assert [r["step"] for r in first] == [r["step"] for r in second]
    for a, b in zip(first, second, strict=True):
        assert a["split"] == b["split"]
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)


def until(file, text, process):
    """Wait until a file holds a text."""
    limit = time.monotonic() + 120
    while not (file.is_file() and text in file.read_text()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """Undisturbed runs: on one device, and of two processes."""
    folder = tmp_path_factory.mktemp("whole")
    ended(start(source, folder / "one"))
    ended(*pair(source, folder / "two"))
    return folder


def test_two_processes_do_what_one_does(whole):
    same(whole / "one", whole / "two")


@pytest.mark.parametrize("axes", ["data", "fsdp", "data=4,model=2"])
def test_eight_devices_do_what_one_does(axes, source, whole, tmp_path):
    eight = "--config.mesh.host_devices=8", f"--config.mesh.axes={axes}"
    ended(start(source, tmp_path / "eight", *eight))
    same(whole / "one", tmp_path / "eight")


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_run_and_a_restart_resumes_it(
    killed, source, whole, tmp_path
):
    workdir = tmp_path / "two"
    both = pair(source, workdir)
    file = workdir / "two_phases" / "0" / "records.jsonl"
    until(file, '"step": 6', both[0])
    both[killed].kill()
    output, _ = both[1 - killed].communicate(timeout=90)
    both[killed].communicate(timeout=10)
    assert both[1 - killed].returncode == 1, output
    last = output.strip().splitlines()[-1]
    assert last.startswith("error:"), output
    assert "Start all processes again" in last
    ended(*pair(source, workdir))
    for name in ("records.jsonl", "model.safetensors"):
        undisturbed = whole / "two" / "two_phases" / "0" / name
        assert (file.parent / name).read_bytes() == undisturbed.read_bytes()


def test_a_stopped_run_goes_on_under_another_layout(source, whole, tmp_path):
    workdir = tmp_path / "moved"
    eight = start(
        source, workdir, "--config.mesh.host_devices=8", "--config.mesh.axes=fsdp"
    )
    until(workdir / "two_phases" / "0" / "records.jsonl", '"step": 4', eight)
    eight.send_signal(signal.SIGTERM)
    output, _ = eight.communicate(timeout=120)
    assert eight.returncode == STOPPED, output
    ended(start(source, workdir))
    same(whole / "one", workdir)


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
