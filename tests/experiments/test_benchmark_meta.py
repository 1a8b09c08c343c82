"""The sides of the rows of meta-learning do the same work."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import client, meta, source
from experiments.benchmarks.kinds import Side
from experiments.benchmarks.rows import maml, prototypes

ROOT = Path(__file__).parents[2]
STEPS = ("loss of step 1", "loss of step 2")
WITHOUT = importlib.util.find_spec(source.LEARN2LEARN) is None


@pytest.fixture
def small(monkeypatch):
    """The rows' work at tiny sizes."""
    sizes = dict(WIDTH=6, WAVES=3, SHOTS=4, SETS=2, SIDE=20, WAYS=3, QUERIES=2)
    for name, size in sizes.items():
        monkeypatch.setattr(meta, name, size)
    monkeypatch.setattr(maml, "INNER", 2)
    few = meta.waves(2, 3)
    monkeypatch.setattr(meta, "waves", lambda: few)
    for name, size in dict(FILTERS=4, WAYS=3, SHOTS=2).items():
        monkeypatch.setattr(prototypes, name, size)


def losses(ready) -> list[float]:
    """Of the first two steps, in one call or in two."""
    ready.call()
    ready.call()
    return [ready.facts()[step] for step in STEPS]


def ways_of_torch(*names):
    """Sides by key; learn2learn's only where it is."""
    absent = pytest.mark.skipif(WITHOUT, reason=source.HOW)
    return [pytest.param(n, marks=absent if n == "learn2learn" else ()) for n in names]


@pytest.mark.parity
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("who", ways_of_torch("learn2learn", "func", "hand"))
def test_sinusoids(who, steps, small):
    expected = losses(maml.waves_with_us(steps))
    found = losses(maml.waves_with_torch(who, steps))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert expected[0] != pytest.approx(expected[1])


@pytest.fixture(scope="module")
def our_glyphs():
    """Our losses by setting: compiled once each."""
    return {}


@pytest.mark.parity
@pytest.mark.parametrize("down, first", [("stride", 0), ("pool", 0), ("stride", 1)])
@pytest.mark.parametrize("who", ways_of_torch("learn2learn", "func", "hand", "threads"))
def test_conv4(who, down, first, small, our_glyphs):
    import torch

    options = dict(filters=4, count=4, down=down, first_order=bool(first))
    if (down, first) not in our_glyphs:
        ready = maml.glyphs_with_us(**options)
        our_glyphs[down, first] = losses(ready)
    expected, threads = our_glyphs[down, first], torch.get_num_threads()
    try:
        found = losses(maml.glyphs_with_torch(who, **options))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert expected[0] != pytest.approx(expected[1], rel=5e-4)


@pytest.mark.parity
def test_prototypes(small):
    expected = losses(prototypes.with_us("float32"))
    found = losses(prototypes.with_torch(compile=False, dtype="float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_peer_that_is_not_there_is_named_with_the_way_to_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = client.missing(Side("s", "m:f", needs=("torch", source.LEARN2LEARN)))
    assert said.startswith("torch, learn2learn not installed: pip install -e")
    assert source.HOW in said
    alone = client.missing(Side("s", "m:f", needs=(source.LEARN2LEARN,)))
    assert alone == f"learn2learn not installed: {source.HOW}"


def run(code: str, folder: Path) -> subprocess.CompletedProcess:
    paths = os.pathsep.join(map(str, (ROOT, folder)))
    args = dict(capture_output=True, text=True, cwd=folder)
    env = os.environ | {"PYTHONPATH": paths}
    return subprocess.run([sys.executable, "-c", code], env=env, **args)


def test_a_part_of_a_source_is_taken_without_its_packages(tmp_path):
    """What the packages import themselves, here what fails, is never run."""
    folder = tmp_path / "learn2learn" / "algorithms"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent):
        (package / "__init__.py").write_text("raise ImportError('gym')\n")
    (folder.parent / "_version.py").write_text("__version__ = '9.1'\n")
    (folder.parent / "utils.py").write_text("VALUE = 7\n")
    (folder / "maml.py").write_text("from learn2learn.utils import VALUE\n")
    take = "from experiments.benchmarks.source import learn2learn as take\n"
    said = run(f"{take}print(take('algorithms.maml').VALUE)", tmp_path)
    assert said.stdout == "7\n", said.stderr
    assert run("import learn2learn", tmp_path).stderr.endswith("ImportError: gym\n")
    versions = f"{take}take('utils')\nfrom experiments.benchmarks import worker\n"
    said = run(f"{versions}print(worker.version('learn2learn'))", tmp_path)
    assert said.stdout == "9.1\n", said.stderr
