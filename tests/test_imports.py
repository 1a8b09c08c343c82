"""Which module may import which, what is light, and what the library never does."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    "types",
    "tree",
    "archives",
    "registries",
    "assets",
    "pickles",
    "losses",
    "nn",
    "generation",
    "models",
    "pretrained",
    "transfer",
    "interop",
    "optim",
    "minimise",
    "algorithms",
    "estimators",
    "metrics",
    "data",
    "distribute",
    "checkpoint",
)
"""Parts of tl_jax: each imports itself and what stands before it, nothing else."""
ONLY = {
    "models": {"pretrained", "interop"},
    "pretrained": {"interop"},
    "assets": {"pretrained", "data"},
    "pickles": {"pretrained", "data"},
    "archives": {"assets"},
    "registries": {"assets"},
}
"""Part -> who alone may import it: algorithms receive models in players, transforms
know sites, and no one else knows a model's name."""
LIGHT = {"chex", "jax", "numpy", "optax", "tl_jax"}
"""What tl_jax imports when it is imported; all else waits inside a function."""
HEAVY = {
    *("torch", "tensorflow", "transformers", "tensorflow_datasets", "sklearn"),
    *("matplotlib", "orbax", "grain", "flax", "equinox", "tokenizers"),
    "huggingface_hub",
}
LINES = 310


def files(*folders: str) -> list[Path]:
    return sorted(file for f in folders for file in (ROOT / f).rglob("*.py"))


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def imported(tree: ast.AST, *, at_once: bool = False) -> Iterator[str]:
    """Dotted names of all imports; `at_once` leaves out those inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import at line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from imported(node, at_once=at_once)


def part(dotted: str) -> str:
    """`tl_jax.nn.dense.keys` -> `nn`; the package itself is ``."""
    return [*dotted.split("."), ""][1]


@pytest.mark.parametrize("file", files("tl_jax"), ids=name)
def test_tl_jax_imports_one_way(file):
    own = file.relative_to(ROOT / "tl_jax").with_suffix("").parts[0]
    if own == "__init__":
        return
    assert own in ORDER, f"give {own!r} its place in ORDER"
    before = ORDER[: ORDER.index(own)]
    allowed = {own} | {p for p in before if own in ONLY.get(p, (*before, own))}
    found = set(imported(ast.parse(file.read_text())))
    roots = {dotted.split(".")[0] for dotted in found}
    assert not roots & {"experiments", "configs", "tests"}
    parts = {part(dotted) for dotted in found if dotted.startswith("tl_jax.")}
    assert parts <= allowed, f"{own} may not import {sorted(parts - allowed)}"


@pytest.mark.parametrize("file", files("tl_jax"), ids=name)
def test_tl_jax_is_light(file):
    found = imported(ast.parse(file.read_text()), at_once=True)
    roots = {dotted.split(".")[0] for dotted in found}
    heavy = roots - LIGHT - set(sys.stdlib_module_names)
    assert not heavy, f"import {sorted(heavy)} inside the function that needs it"


@pytest.mark.parametrize("file", files("experiments"), ids=name)
def test_experiments_never_import_configs(file):
    roots = {d.split(".")[0] for d in imported(ast.parse(file.read_text()))}
    assert not roots & {"configs", "tests"}


@pytest.mark.parametrize("file", files("configs"), ids=name)
def test_configs_are_data(file):
    roots = {d.split(".")[0] for d in imported(ast.parse(file.read_text()))}
    assert roots <= {"configs", "ml_collections"}


@pytest.mark.parametrize("file", files("tl_jax"), ids=name)
def test_the_library_neither_compiles_nor_prints(file):
    for node in ast.walk(ast.parse(file.read_text())):
        word = getattr(node, "attr", None) or getattr(node, "id", None)
        line = getattr(node, "lineno", 0)
        assert word not in ("jit", "pjit", "pmap", "print"), f"{word} at line {line}"


@pytest.mark.parametrize("file", files("tl_jax", "experiments", "configs"), ids=name)
def test_files_are_short(file):
    assert len(file.read_text().splitlines()) <= LINES


MODULES = [name(file)[:-3].replace("/", ".") for file in files("tl_jax")]
TIMED = """
import sys, time
start = time.process_time()
import {modules}
print(time.process_time() - start, *sys.modules)
"""


def timed_import(modules: str) -> tuple[float, set[str]]:
    """(Fewest CPU seconds of three imports, names of all modules loaded)."""
    code, seconds, loaded = TIMED.format(modules=modules), [], set()
    for _ in range(3):
        args = dict(check=True, capture_output=True, text=True, cwd=ROOT)
        out = subprocess.run([sys.executable, "-c", code], **args).stdout.split()
        seconds.append(float(out[0]))
        loaded |= {dotted.split(".")[0] for dotted in out[1:]}
    return min(seconds), loaded


def test_importing_everything_is_quick():
    """All of tl_jax within two CPU seconds of jax, and nothing heavy beside it."""
    own = [m.removesuffix(".__init__") for m in MODULES]
    alone, _ = timed_import("jax")
    seconds, loaded = timed_import(", ".join(own))
    assert not loaded & HEAVY
    assert seconds < alone + 2


def test_files_of_tests_have_names_of_their_own():
    """They are imported by name alone: of two, a process would know the first."""
    files = [*(ROOT / "tests").rglob("*.py")]
    names = [file.stem for file in files if file.stem != "conftest"]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice
