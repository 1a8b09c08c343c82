"""Processes that die, disks that fill up, devices that change."""

import os
import subprocess
import sys
import textwrap

import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import checkpoint


def start(script: str, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        | environment,
    )


def test_a_kill_in_the_middle_leaves_a_checkpoint(tmp_path):
    process = start(
        """
        import sys
        import numpy as np
        from tl_jax import checkpoint
        store = checkpoint.open(sys.argv[1])
        noise = np.random.default_rng(0).normal(size=(600, 1000))
        for step in range(10_000):
            store.save(step, {"step": step, "x": noise + step}, {"step": step})
            print(step, flush=True)
        """,
        tmp_path,
    )
    while process.poll() is None and int(process.stdout.readline()) < 4:
        pass
    process.kill()
    process.communicate()
    with checkpoint.open(tmp_path) as store:
        restored = store.restore({"step": 0, "x": np.zeros((600, 1000))})
        assert restored.step >= 3
        assert restored.tree["step"] == restored.meta["step"] == restored.step
        noise = np.random.default_rng(0).normal(size=(600, 1000))
        np.testing.assert_array_equal(restored.tree["x"], noise + restored.step)
        assert not [p for p in tmp_path.iterdir() if "tmp" in p.name]
        store.save(restored.step + 1, restored.tree, restored.meta)


def test_a_full_disk_is_told_and_harms_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    assert resource.RLIMIT_FSIZE is not None
    process = start(
        """
        import resource, sys
        import numpy as np
        from tl_jax import checkpoint

        def limit(size):
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

        tree = {"x": np.random.default_rng(0).normal(size=(500, 500))}
        with checkpoint.open(sys.argv[1], keep_last=1) as store:
            store.save(1, tree, {})
            store.wait()
            limit(100_000)
            store.save(2, tree, {})
            try:
                store.save(3, tree, {})
            except checkpoint.CheckpointError as error:
                assert "step 2" in str(error) and "File too large" in str(error)
                print("told at the next save")
            assert store.steps() == [1]
            limit(resource.RLIM_INFINITY)
            store.save(4, tree, {})
            assert store.steps() == [4]
            limit(100_000)
            store.save(5, tree, {})
        """,
        tmp_path,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert out == "told at the next save\n"
    assert len(err.splitlines()) < 24, err
    last = err.strip().splitlines()[-1]
    assert f"step 5 was not saved in {tmp_path}: File too large" in last
    assert last.endswith("checkpoints that are there: [4]")
    with checkpoint.open(tmp_path, read_only=True) as store:
        assert store.restore({"x": np.zeros((500, 500))}).step == 4


def test_restoring_onto_other_devices(tmp_path):
    x = jnp.arange(64.0).reshape(8, 8)
    with checkpoint.open(tmp_path / "one") as store:
        store.save(1, {"x": x, "n": jnp.int32(3)}, {})
    process = start(
        """
        import sys
        import jax, jax.numpy as jnp
        from jax.sharding import NamedSharding, PartitionSpec as P
        from tl_jax import checkpoint

        mesh = jax.make_mesh((4, 2), ("a", "b"))
        split, whole = NamedSharding(mesh, P("a", "b")), NamedSharding(mesh, P())
        target = {
            "x": jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=split),
            "n": jax.device_put(jnp.int32(0), whole),
        }
        with checkpoint.open(sys.argv[1]) as store:
            tree = store.restore(target).tree
        assert tree["x"].sharding == split and tree["n"].sharding == whole
        assert (tree["x"] == jnp.arange(64.0).reshape(8, 8)).all() and tree["n"] == 3
        key = jax.device_put(jax.random.split(jax.random.key(0), 8),
                             NamedSharding(mesh, P("a")))
        with checkpoint.open(sys.argv[2]) as store:
            store.save(2, {"x": tree["x"] + 1, "n": tree["n"], "key": key}, {})
            assert store.restore({"x": target["x"], "n": target["n"], "key": key}
                                 ).tree["key"].sharding == key.sharding
        print("done")
        """,
        tmp_path / "one",
        tmp_path / "many",
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
        JAX_PLATFORMS="cpu",
    )
    out, err = process.communicate(timeout=60)
    assert out == "done\n", err
    with checkpoint.open(tmp_path / "many") as store:
        tree = store.restore_flat().tree
        np.testing.assert_array_equal(tree["x"], x + 1)
        target = {"x": x, "n": jnp.int32(0), "key": tree["key"]}
        assert (store.restore(target).tree["x"] == x + 1).all()
