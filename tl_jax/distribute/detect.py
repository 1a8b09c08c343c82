"""Where a run's processes can be found by JAX itself, and what is missing elsewhere.

JAX reads the environment without a check and fails by a KeyError, or after minutes.
These checks name what it reads, so that a wrong place is told at once.
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec

DETECTED = {
    "slurm": "slurm",
    "mpi": "ompi",
    "mpi4py": "mpi4py",
    "tpu": None,
    "kubernetes": None,
    "auto": None,
}
"""What a user says -> the `cluster_detection_method` of `jax.distributed.initialize`.

None is JAX's own search, which knows Open MPI, SLURM, TPUs of GKE and GCE, and jobs of
Kubernetes, in this order; the last have no name that could be given."""
SLURM = (
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)
OPEN_MPI = (
    "OMPI_MCA_orte_hnp_uri",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
)
BY_HAND = "or give --coordinator, --processes and --process"


def missing(method: str, environ: Mapping[str, str] = os.environ) -> str:
    """What a method needs and is not here, in words; empty where all is there.

    It asks neither for devices nor for a network.
    """
    checks = {
        "slurm": _slurm,
        "mpi": _open_mpi,
        "mpi4py": _mpi4py,
        "tpu": _tpu,
        "kubernetes": _kubernetes,
    }
    if method != "auto":
        return checks[method](environ)
    searched = ("mpi", "slurm", "tpu", "kubernetes")
    if any(not checks[name](environ) for name in searched):
        return ""
    return f"no environment of {', '.join(searched)} here; {BY_HAND}"


def _slurm(environ: Mapping[str, str]) -> str:
    lacking = [name for name in SLURM if name not in environ]
    told = "no SLURM environment here: {} is missing; start the command by srun"
    return told.format(lacking[0]) if lacking else ""


def _open_mpi(environ: Mapping[str, str]) -> str:
    lacking = [name for name in OPEN_MPI if name not in environ]
    told = (
        "no Open MPI environment here: {} is missing; start the command by Open MPI "
        "4's mpirun, take --cluster=mpi4py for another MPI, " + BY_HAND
    )
    return told.format(lacking[0]) if lacking else ""


def _mpi4py(environ: Mapping[str, str]) -> str:
    return "" if find_spec("mpi4py") else "the package mpi4py is not installed"


def _tpu(environ: Mapping[str, str]) -> str:
    """JAX sets TPU_SKIP_MDS_QUERY when it is imported and finds no chips."""
    if "TPU_LIBRARY_PATH" not in environ and not find_spec("libtpu"):
        return f"no TPU environment here: libtpu is not installed; {BY_HAND}"
    hosts = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
    if "TPU_SKIP_MDS_QUERY" in environ and not any(n in environ for n in hosts):
        return (
            "no TPU environment here: there are no chips, or TPU_SKIP_MDS_QUERY is "
            f"set and neither {' nor '.join(hosts)} is; {BY_HAND}"
        )
    return ""


def _kubernetes(environ: Mapping[str, str]) -> str:
    if "KUBERNETES_SERVICE_HOST" not in environ:
        return (
            "no Kubernetes environment here: KUBERNETES_SERVICE_HOST is missing; "
            + BY_HAND
        )
    if "JOB_COMPLETION_INDEX" not in environ:
        return (
            "JOB_COMPLETION_INDEX is missing; give the job `completionMode: Indexed`, "
            + BY_HAND
        )
    if not find_spec("kubernetes"):
        return (
            "the package kubernetes is not installed (pip install 'jax[k8s]'); install "
            "it, or leave --cluster away and set JAX_COORDINATOR_ADDRESS and "
            "JAX_NUM_PROCESSES"
        )
    return ""
