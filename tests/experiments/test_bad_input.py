"""Each mistake ends at once: one screen that names cause and cure, nothing written."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_study import write

from configs import finetune
from experiments import run
from experiments.main import main

CONFIG = str(Path(__file__).parents[2] / "configs" / "finetune.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data"), "classification", ".csv")


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    """Every mistake is found before the first run begins."""

    def begun(job):
        raise AssertionError("a run began")

    monkeypatch.setattr(run, "execute", begun)


@pytest.fixture
def refused(tiny_model, data, tmp_path, capsys):
    """(flags) -> the message of a command that ends with 2 and writes nothing."""

    def call(*flags, config=CONFIG, workdir=tmp_path / "workdir"):
        base = [f"--config={config}", f"--workdir={workdir}"]
        base += [f"--config.model.spec={tiny_model}", f"--config.data.source={data}"]
        base += ["--config.data.length=16", "--config.steps=2"]
        before = sorted(tmp_path.rglob("*"))
        assert main(["main", *base, *flags]) == 2
        assert sorted(tmp_path.rglob("*")) == before
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert "Traceback" not in said
        assert said.count("\n") <= 8
        assert len(said) < 1500
        return said

    return call


BAD_FLAGS = {
    "misspelt field": ("--config.stepz=3", "--config.stepz", "--config.steps"),
    "misspelt part": ("--config.model.spek=x", "spek", "--config.model.spec"),
    "misspelt rate": ("--config.strategies.full.rat=1", "strategies.full.rate"),
    "wrong type": ("--config.steps=ten", "--config.steps", "int"),
    "wrong bool": ("--config.model.remat=perhaps", "--config.model.remat", "bool"),
    "a part, not a field": ("--config.data=3", "--config.data.source"),
    "unknown flag": ("--wrokdir=x", "wrokdir", "workdir"),
    "stray word": ("oops", "'oops'"),
    "missing file": ("--config.data.source=no/rows.csv", "no/rows.csv"),
    "unknown data": ("--config.data.source=bcc", "config.data.source", "bbc"),
    "missing model": ("--config.model.spec=./no/model", "no/model"),
    "wrong column": ("--config.data.text=texts", "column 'texts'", "text"),
    "other labels": ("--config.task=regression", "row 0", "'a' is no number"),
    "unknown task": ("--config.task=token", "config.task", "tokens"),
    "no such strategy": ("--config.run=lroa", "lroa", "lora"),
    "one strategy twice": ("--config.run=full,full", "'full' twice"),
    "no strategy": ("--config.run=", "config.run", "lora"),
    "reference": ("--config.reference=fulll", "config.reference", "full"),
    "one seed twice": ("--config.seeds=1,1", "config.seeds", "distinct"),
    "text as seed": ("--config.seeds=a", "config.seeds"),
    "batch": ("--config.batch_size=0", "config.batch_size is 0", "at least 1"),
    "accumulate": ("--config.accumulate=5", "config.accumulate", "divide"),
    "smoothing": ("--config.smoothing=1.5", "config.smoothing is 1.5", "[0, 1)"),
    "test share": ("--config.data.test=1.0", "config.data.test", "(0, 1)"),
    "decay": ("--config.optimiser.weight_decay=-1.0", "weight_decay is -1.0"),
    "rate": ("--config.strategies.full.rate=0.0", "strategies.full", "rate is 0.0"),
    "NaN rate": ("--config.strategies.full.rate=nan", "rate is nan"),
    "optimiser": ("--config.optimiser.name=adam", "config.optimiser", "adamw"),
    "schedule": ("--config.optimiser.schedule=lin", "config.optimiser", "linear"),
    "warm-up": ("--config.optimiser.warmup=50.0", "warmup is 50", "up to 2"),
    "length": ("--config.data.length=500", "config.data.length is 500", "24"),
    "buckets": ("--config.data.buckets=8,", "config.data.buckets", "16"),
    "dtype": ("--config.model.dtype=half", "config.model.dtype", "bfloat16"),
    "rules": ("--config.model.rules=atuo", "config.model.rules", "auto"),
    "form": ("--config.model.form=tap", "config.model.form", "nearest: taps"),
    "features": ("--config.model.features=men", "features", "mean"),
    "weights": ("--config.class_weights=even", "class_weights", "balanced"),
    "few": ("--config.data.per_class=99", "validation_per_class"),
    "select": ("--config.select=first", "config.select", "best", "last"),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_flags(case, refused):
    flag, *named = BAD_FLAGS[case]
    said = refused(flag)
    for name in named:
        assert name in said


CLASSES = "text,label\n"
BAD_FILES = {
    "empty": ("rows.csv", "", ("rows.csv", "no examples")),
    "a header alone": ("rows.csv", CLASSES, ("rows.csv", "no examples")),
    "ragged": ("rows.csv", CLASSES + "x,a\ny\n", ("line 3", "1 fields")),
    "label below range": (
        "rows.jsonl",
        '{"text": "x", "label": 0}\n{"text": "y", "label": -1}\n',
        ("label -1 of row 1", "0.."),
    ),
    "no JSON": ("rows.jsonl", "{oops\n", ("rows.jsonl, line 1",)),
    "few of a class": (
        "rows.csv",
        CLASSES + "".join(f"x{i},a\n" for i in range(9)) + "y,rare\n",
        ("rare", "1 distinct"),
    ),
    "other ending": ("rows.xlsx", "x", (".xlsx", ".csv")),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_data(case, refused, tmp_path):
    name, text, named = BAD_FILES[case]
    (tmp_path / name).write_text(text)
    said = refused(f"--config.data.source={tmp_path / name}")
    for part in named:
        assert part in said


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_target_that_is_no_number(value, refused, tmp_path):
    (tmp_path / "rows.csv").write_text(f"{CLASSES}x,0.5\ny,{value}\n")
    source = f"--config.data.source={tmp_path / 'rows.csv'}"
    said = refused("--config.task=regression", source)
    assert "label of row 1 is not finite" in said


def test_a_truncated_file_of_weights(refused, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])
    said = refused(f"--config.model.spec={tmp_path / 'model'}")
    assert "model.safetensors is damaged" in said
    assert "2000 bytes" in said


def test_a_tensor_of_another_shape(refused, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    arrays = load_file(file)
    name = next(n for n in sorted(arrays) if n.endswith("query.weight"))
    save_file(arrays | {name: np.zeros((16, 15), np.float32)}, file)
    said = refused(f"--config.model.spec={tmp_path / 'model'}")
    assert name in said
    assert re.search(r"16.*15|15.*16", said)


def test_a_model_without_tokenizer(refused, golden):
    said = refused(f"--config.model.spec={golden / 'bert' / 'bert_model'}")
    assert "has no tokenizer" in said


def config_with(folder, plan, **more):
    """A config file with one strategy of that plan."""
    file = folder / "mine.py"
    file.write_text(
        "from configs import finetune\n\n\n"
        "def get_config(arg=''):\n"
        "    config = finetune.get_config()\n"
        "    config.run = 'mine'\n"
        f"    config.strategies.mine = {dict(plan=plan, rate=1e-3) | more!r}\n"
        "    return config\n"
    )
    return file


BAD_PLANS = {
    "a pattern without match": (
        [{"transform": "freeze", "where": "block/.*"}],
        ("strategies.mine.plan", "block/.*", "nearest: blocks/"),
    ),
    "an unknown transform": ([{"transform": "lor"}], ("plan[0]", "lora")),
    "no transform": ([{"where": ".*"}], ("plan[0]", "`transform`")),
    "an unknown argument": (
        [{"transform": "freeze", "were": ".*"}],
        ("plan[0]", "'were'", "where"),
    ),
    "a missing argument": ([{"transform": "lora", "rank": 2}], ("plan[0]", "where")),
    "no expression": ([{"transform": "freeze", "where": "("}], ("'('", "expression")),
    "a rank too large": (
        [{"transform": "lora", "rank": 99, "where": ".*/query"}],
        ("strategies.mine.plan", "rank 99", "(16, 16)"),
    ),
    "too many blocks": ([{"transform": "top", "count": 7}], ("top(7)", "2 blocks")),
}


@pytest.mark.parametrize("case", BAD_PLANS)
def test_plans(case, refused, tmp_path):
    plan, named = BAD_PLANS[case]
    said = refused(config=config_with(tmp_path, plan))
    for part in named:
        assert part in said


@pytest.mark.parametrize(
    "more, named",
    [
        ({"rtae": 1.0}, ("'rtae'", "rate")),
        ({"fit": "ridg"}, ("strategies.mine.fit", "ridge")),
        ({"patience": 1.5}, ("strategies.mine.patience is 1.5", "whole number")),
        ({"penalties": {"l2": {}}}, ("mine.penalties 'l2'", "l2_sp")),
        ({"penalties": {"bss": {"kk": 2}}}, ("penalties.bss", "'kk'", "nearest: k")),
        ({"penalties": {"bss": {"k": 0}}}, ("penalties.bss", "k is 0")),
        ({"penalties": {"co_tuning": {"temperature": 0.0}}}, ("temperature is 0.0",)),
        ({"penalties": {"co_tuning": {}}}, ("keep_head: where 'head'", "head='keep'")),
        ({"average": 1.5}, ("strategies.mine.average is 1.5",)),
        ({"steps": 2.5}, ("steps is 2.5",)),
        ({"phases": {"1_a": {"stpes": 3}}}, ("phases.1_a", "'stpes'", "steps")),
    ],
)
def test_strategies(more, named, refused, tmp_path):
    said = refused(config=config_with(tmp_path, [], **more))
    for part in named:
        assert part in said


def test_workdir_below_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("x")
    said = refused(workdir=tmp_path / "file" / "runs")
    assert f"{tmp_path / 'file'} is a file, expected a folder" in said


def test_workdir_of_another_study(refused, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    before = finetune.get_config()
    before.steps, before.data.length = 7, 16
    before = {"asked": json.loads(before.to_json_best_effort())}
    (folder / "study.json").write_text(json.dumps(before))
    said = refused(workdir=folder)
    assert "another config" in said
    assert "steps: 7 there, 2 asked for" in said
    assert "model.spec: 'minilm' there" in said
    assert "strategies" not in said


@pytest.mark.parametrize("text", ["{", "{}"])
def test_workdir_with_a_damaged_study(text, refused, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "study.json").write_text(text)
    assert "study.json is damaged" in refused(workdir=folder)


@pytest.mark.parametrize(
    "flags, named",
    [
        ([], "--config is missing"),
        ([f"--config={CONFIG}"], "--workdir is missing"),
        (["--config=no.py", "--workdir=x"], "--config no.py: there is no such file"),
        (["--workdir=x", "--config.steps=2"], "--config is missing"),
    ],
)
def test_flags_that_are_missing(flags, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["main", *flags]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_help_is_no_mistake(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["main", "--help"])
    assert ended.value.code == 0
    assert "Exit codes" in capsys.readouterr().out
