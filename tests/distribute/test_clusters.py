"""Every way to find processes, against JAX's own classes in a made-up environment."""

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import jax
import pytest
from jax._src import clusters
from jax._src.clusters import cloud_tpu_cluster

from tl_jax import distribute
from tl_jax.distribute import cluster_of

SLURM = {
    "SLURM_JOB_ID": "4100",
    "SLURM_STEP_NODELIST": "gpu[007-009],far",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "3",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
TPU = {"TPU_WORKER_HOSTNAMES": "localhost,other", "TPU_WORKER_ID": "1"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "5"}


def module(monkeypatch, name, **parts):
    """A package that is there, as far as anybody can see."""
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    vars(made).update(parts)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.fixture
def given(monkeypatch):
    """What `jax.distributed.initialize` finds by itself when `connect` calls it."""
    for name in {*SLURM, *OPEN_MPI, *TPU, *POD, "TPU_LIBRARY_PATH"} & {*os.environ}:
        monkeypatch.delenv(name)
    found = []

    def initialize(coordinator, processes, process, *, initialization_timeout, **rest):
        found.append(
            clusters.ClusterEnv.auto_detect_unset_distributed_params(
                coordinator,
                processes,
                process,
                None,
                rest["cluster_detection_method"],
                initialization_timeout,
            )[:3]
        )

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(jax.config, "update", lambda name, value: None)

    def detect(method, environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        distribute.connect(cluster_of(method=method))
        return found.pop()

    return detect


@pytest.mark.parametrize("method", ["slurm", "auto"])
def test_slurm(given, method):
    assert given(method, SLURM) == ("gpu007:61444", 4, 2)


@pytest.mark.parametrize("method", ["mpi", "auto"])
def test_open_mpi(given, method):
    coordinator, *numbers = given(method, OPEN_MPI)
    assert coordinator.startswith("10.96.0.1:")
    assert numbers == [3, 1]


def test_mpi4py(given, monkeypatch):
    world = SimpleNamespace(
        Get_rank=lambda: 1,
        Get_size=lambda: 2,
        bcast=lambda text, root: "first:9",
        Split_type=lambda kind: SimpleNamespace(Get_rank=lambda: 0),
    )
    names = SimpleNamespace(COMM_WORLD=world, COMM_TYPE_SHARED=0)
    module(monkeypatch, "mpi4py", MPI=names)
    assert given("mpi4py", {}) == ("first:9", 2, 1)


@pytest.mark.parametrize("method", ["tpu", "auto"])
def test_tpus_of_gke(given, monkeypatch, method):
    module(monkeypatch, "libtpu")
    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", lambda key: ("", 200))
    coordinator, *numbers = given(method, TPU)
    assert coordinator.startswith("localhost:")
    assert numbers == [2, 1]


def test_tpus_of_gce(given, monkeypatch):
    module(monkeypatch, "libtpu")
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    told = {
        "agent-worker-number": "1",
        "worker-network-endpoints": "a:1:127.0.0.1,b:2:127.0.0.2",
        "tpu-env": "",
    }
    monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", lambda key: (told[key], 200))
    coordinator, *numbers = given("tpu", {})
    assert coordinator.startswith("127.0.0.1:")
    assert numbers == [2, 1]


@pytest.mark.parametrize("method", ["kubernetes", "auto"])
def test_kubernetes(given, monkeypatch, method):
    none = SimpleNamespace(load_incluster_config=lambda: None)
    api = SimpleNamespace(
        CoreV1Api=lambda: None,
        BatchV1Api=lambda: None,
        exceptions=SimpleNamespace(ApiException=RuntimeError),
    )
    module(monkeypatch, "kubernetes", config=none, client=api)
    job = SimpleNamespace(
        metadata=SimpleNamespace(labels={}, name="job"),
        spec=SimpleNamespace(parallelism=8),
    )
    pod = SimpleNamespace(spec=SimpleNamespace(subdomain="127.0.0.1.nip"))
    own = clusters.K8sCluster
    kind = SimpleNamespace(kind="Job")
    for name, value in (("_controller", kind), ("_job", job), ("_pod", pod)):
        monkeypatch.setattr(own, name, lambda value=value: value)
    monkeypatch.setattr("socket.gethostbyname", lambda name: "127.0.0.1")
    assert given(method, POD) == ("job-0.127.0.0.1.nip:55527", 8, 5)


def test_all_methods_are_tested_and_known_to_jax():
    tested = {"slurm", "auto", "mpi", "mpi4py", "tpu", "kubernetes"}
    assert set(distribute.DETECTED) == tested
    known = {env.name for env in clusters.ClusterEnv._cluster_types}
    assert {name for name in distribute.DETECTED.values() if name} <= known


@pytest.mark.parametrize(
    ("method", "environ", "words"),
    [
        ("slurm", {}, "no SLURM environment here: SLURM_JOB_ID is missing"),
        ("slurm", {"SLURM_JOB_ID": "1"}, "SLURM_STEP_NODELIST is missing"),
        ("mpi", {}, "no Open MPI environment here: OMPI_MCA_orte_hnp_uri is missing"),
        ("mpi4py", {}, "mpi4py is not installed"),
        ("tpu", {}, "no TPU environment here: libtpu is not installed"),
        (
            "tpu",
            {"TPU_LIBRARY_PATH": "x", "TPU_SKIP_MDS_QUERY": "1"},
            "neither TPU_PROCESS_ADDRESSES nor TPU_WORKER_HOSTNAMES is",
        ),
        ("kubernetes", {}, "KUBERNETES_SERVICE_HOST is missing"),
        ("kubernetes", {"KUBERNETES_SERVICE_HOST": "x"}, "completionMode: Indexed"),
        ("kubernetes", POD, "kubernetes is not installed"),
        ("auto", {}, "no environment of mpi, slurm, tpu, kubernetes here"),
    ],
)
def test_a_place_without_the_method_is_told_at_once(
    method, environ, words, monkeypatch
):
    monkeypatch.setattr("tl_jax.distribute.detect.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=f"--cluster={method}: .*{words}"):
        cluster_of(method=method, environ=environ)
