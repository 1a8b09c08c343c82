"""Where a worker runs: its environment, and how it waits and measures."""

import sys
from types import SimpleNamespace

import pytest
from fake_sides import sleeper

from experiments.benchmarks import accelerator, client, measure
from experiments.benchmarks.kinds import Side
from experiments.benchmarks.worker import Server

SIDE = Side("s", "fake_sides:sleeper", env={"JAX_PLATFORMS": "own"})


@pytest.fixture
def torch(monkeypatch):
    """As much of torch as is asked, with a GPU of its own."""
    said = []
    cuda = SimpleNamespace(
        is_available=lambda: True,
        synchronize=lambda: said.append("waited"),
        max_memory_allocated=lambda: 3 * 2**20,
        get_device_name=lambda: "a GPU",
    )
    found = SimpleNamespace(
        cuda=cuda,
        set_default_device=said.append,
        set_float32_matmul_precision=said.append,
        said=said,
    )
    monkeypatch.setitem(sys.modules, "torch", found)
    return found


def test_a_worker_sees_one_kind_of_device_and_its_sides_own_settings(tmp_path):
    plain = SIDE._replace(env={})
    cpu, gpu = (client.environment(plain, tmp_path, d) for d in accelerator.CHOICES)
    assert (cpu["JAX_PLATFORMS"], cpu["CUDA_VISIBLE_DEVICES"]) == ("cpu", "")
    assert gpu["JAX_PLATFORMS"] == "cuda"
    assert gpu["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert client.environment(SIDE, tmp_path, "gpu")["JAX_PLATFORMS"] == "own"


def test_torch_builds_on_the_gpu_and_is_waited_for(torch):
    server = Server(lambda: sleeper(seconds=0.0), "gpu", "torch")
    server.warm(2)
    assert torch.said == ["cuda", "high", "waited", "waited"]
    assert server.rss() == {"peak_mb": 3.0}
    torch.version, torch.__version__ = None, "2"
    assert server.info()["gpu"] == "a GPU"


def test_on_the_cpu_torch_is_left_as_it_is(torch):
    server = Server(lambda: sleeper(seconds=0.0), "cpu", "torch")
    server.warm(1)
    assert torch.said == []
    assert server.info()["gpu"] == ""


def test_a_side_of_no_framework_has_the_memory_of_its_process(torch):
    server = Server(lambda: sleeper(seconds=0.0), "gpu", "")
    server.warm(1)
    assert server.rss()["timed_mb"] > 1
    assert server.info()["gpu"] == ""


def test_no_gpu_is_said_before_anything_is_built(torch):
    torch.cuda.is_available = lambda: False
    server = Server(lambda: pytest.fail("built"), "gpu", "torch")
    with pytest.raises(RuntimeError, match="torch finds no GPU"):
        server.warm(1)


def test_a_results_machine_names_the_gpu():
    sides = [{"versions": {}, "gpu": "NVIDIA H100"}, {"versions": {}}]
    assert measure.context(sides)["machine"].startswith("NVIDIA H100, ")
