"""Records: append, resume, read, and the sinks that fan out."""

import json
import math
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.records import Records, Sinks, TensorBoard, read, seconds_until


def write(path, steps, resume_step=None):
    with Records(path, resume_step) as records:
        for step in steps:
            record = {"step": step, "split": "train", "loss": math.sin(step) / 3}
            records.append(record)


def test_reads_back_every_bit(tmp_path):
    path = tmp_path / "run" / "records.jsonl"
    third = jnp.float32(1) / 3
    with Records(path) as records:
        records.append({"step": np.int64(1), "loss": third, "x": 0.1 + 0.2, "s": "ü"})
        records.append({"step": 2, "nan": jnp.nan, "inf": [np.inf, -math.inf, 1]})
    first, second = read(path)
    assert first == {"step": 1, "loss": float(third), "x": 0.1 + 0.2, "s": "ü"}
    assert math.isnan(second["nan"])
    assert second["inf"] == [math.inf, -math.inf, 1]
    for text in path.read_text().splitlines():
        json.loads(text, parse_constant=pytest.fail)  # strict JSON, any reader can


def test_each_line_is_on_disk_at_once(tmp_path):
    records = Records(tmp_path / "r.jsonl")
    records.append({"step": 1})
    assert read(tmp_path / "r.jsonl") == [{"step": 1}]
    records.close()


@pytest.mark.parametrize("tail", ["", '{"step": 7, "lo', '{"step": 4, "split"'])
def test_resume_leaves_the_bytes_of_an_unbroken_run(tmp_path, tail):
    write(tmp_path / "whole.jsonl", range(10))
    write(tmp_path / "cut.jsonl", range(7))
    with (tmp_path / "cut.jsonl").open("a") as file:
        file.write(tail)
    write(tmp_path / "cut.jsonl", range(4, 10), resume_step=3)
    whole, cut = (tmp_path / f"{n}.jsonl" for n in ("whole", "cut"))
    assert cut.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.jsonl", "whole.jsonl"]


def test_resume_keeps_a_record_that_lacks_only_its_newline(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}')
    write(path, [3], resume_step=2)
    assert [record["step"] for record in read(path)] == [1, 2, 3]


def test_resume_without_a_file_starts_one(tmp_path):
    write(tmp_path / "r.jsonl", [5], resume_step=4)
    assert len(read(tmp_path / "r.jsonl")) == 1


def test_starting_over_must_be_said(tmp_path):
    path = tmp_path / "r.jsonl"
    write(path, [0, 1])
    with pytest.raises(FileExistsError, match="resume_step"):
        Records(path)
    assert len(read(path)) == 2
    write(path, [0], resume_step=-1)
    assert len(read(path)) == 1


def test_reading_while_a_line_is_half_written(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert read(path) == [{"step": 1}]


@pytest.mark.parametrize(
    "text, message", [('{"step": 1}\n{oops\n', "r.jsonl:2"), ("[1]\n", "an object")]
)
def test_a_broken_line_is_named(tmp_path, text, message):
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "r.jsonl")


def test_bad_records_are_refused(tmp_path):
    with Records(tmp_path / "r.jsonl") as records:
        with pytest.raises(ValueError, match=r"integer step.*'loss'"):
            records.append({"loss": 1.0})
        with pytest.raises(TypeError, match=r"'loss'.*object"):
            records.append({"step": 1, "loss": object()})
    assert (tmp_path / "r.jsonl").read_bytes() == b""


def test_tensorboard_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tl_jax\[tensorboard\]"):
        TensorBoard(tmp_path)


def test_sinks_fan_out(tmp_path, monkeypatch):
    seen = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            seen.append(("open", purge_step))

        def add_scalar(self, tag, value, step):
            seen.append((tag, value, step))

        def flush(self):
            pass

        def close(self):
            seen.append("closed")

    fake = types.SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    path = tmp_path / "r.jsonl"
    with Sinks(Records(path), TensorBoard(tmp_path / "tb", resume_step=3)) as sinks:
        sinks.append(
            {"step": 4, "split": "train", "loss": jnp.float32(0.5), "ok": True}
        )
    assert len(read(path)) == 1
    assert seen == [("open", 4), ("train/loss", 0.5, 4), "closed"]


def test_seconds_of_earlier_steps_add_up(tmp_path):
    path = tmp_path / "timings.jsonl"
    assert seconds_until(path, 9) == 0
    rows = [(2, 1.5, 3.0), (4, 0.5, 0.0), (6, 8.0, 0.0)]
    with Records(path) as opened:
        for step, seconds, compiled in rows:
            timed = {"seconds": seconds, "compile_seconds": compiled}
            opened.append({"step": step, **timed})
    assert seconds_until(path, 4) == 5.0
