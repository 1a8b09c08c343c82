"""The figures of merit of a study: means over seeds, ratios and verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import paired
from experiments.study import RESULT, Study, StudyError
from tl_jax.metrics.transfer import Interval, gain_interval

_LOWER_IS_BETTER = (
    *("loss", "error", "rmse", "mse", "mae", "nll", "perplexity", "ece", "brier"),
    *("cross_entropy", "log_loss", "distance"),
)


ONE = {"ways": "way", "shots": "shot", "queries": "query"}
JUDGED = {"validation": "choose by", "test": "test with"}
"""Field of `config.episodes` -> what its episodes are for."""


class Score(NamedTuple):
    """One figure of one strategy over its seeds; `sd` is None for a single seed."""

    values: tuple[float, ...]
    mean: float
    sd: float | None


class Row(NamedTuple):
    """One strategy's line of the table; None where nothing is known."""

    name: str
    title: str
    note: str
    done: int
    expected: int
    scores: dict[str, Score]
    validation: dict[str, Score]
    interval: tuple[float, float] | None
    """Of the headline metric: the seeds' intervals over test rows, averaged."""
    trainable: int | None
    total: int | None
    seconds: float | None
    compile_seconds: float | None
    memory: float | None
    step: float | None = None
    """Seconds of a step; None where nothing is trained by steps."""
    saved: float | None = None
    """MB of the weights that a run wrote: what is not in the base."""
    ratio: float | None = None
    """Against the reference; above 1 helps, whichever way the metric points."""
    gain: float | None = None
    """Mean difference to the reference, of the seeds that both have."""
    gain_interval: Interval | None = None
    """That difference with a paired interval over seeds; NaN ends with one seed."""
    comparison: paired.Comparison | None = None


class Summary(NamedTuple):
    """All that tables, figures and pages show."""

    study: Study
    metric: str
    metrics: tuple[str, ...]
    """Columns: the headline metric first."""
    higher_is_better: bool
    rows: tuple[Row, ...]
    reference: Row | None

    @property
    def partial(self) -> bool:
        """True if a run that `study.json` asks for has not ended."""
        return any(row.done < row.expected for row in self.rows)

    @property
    def units(self) -> str:
        """What the test set holds, in words: scores are means over these."""
        few = str(self.study.info.get("task", "")).startswith("fewshot")
        return "episodes" if few else "rows"

    @property
    def best(self) -> Row | None:
        """The row with the best mean of the headline metric, of those with all seeds.

        As long as no row has all, of those with any.
        """
        return best(ended(self.rows), self.metric, self.higher_is_better)


def ended(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with all their seeds; as long as there is none, all rows."""
    return [row for row in rows if row.done == row.expected] or rows


def best(
    rows: Iterable[Row], metric: str, higher: bool, split: str = "scores"
) -> Row | None:
    """The row with the best mean `metric` in `split`; the first of equals."""
    found = [(getattr(row, split).get(metric), row) for row in rows]
    known = [(s.mean, row) for s, row in found if s and np.isfinite(s.mean)]
    sign = 1 if higher else -1
    return max(known, key=lambda pair: sign * pair[0], default=(None, None))[1]


def summarise(study: Study) -> Summary:
    """Means, deviations, ratios and verdicts, in the order of `study.json`."""
    info = study.info
    metric = info["metric"]
    metrics = _metrics(study)
    higher = bool(info.get("higher_is_better", higher_is_better(metric)))
    reference = info.get("reference")
    rows = []
    for name in study.runs:
        row = _row(study, name, metrics)
        if reference is not None and name != reference:
            row = _against(study, row, reference, metric, higher)
        rows.append(row)
    base = next((row for row in rows if row.name == reference), None)
    return Summary(study, metric, metrics, higher, tuple(rows), base)


def episodes_said(info: Mapping[str, Any]) -> str:
    """What an episode of the study holds, and how many judge; regressions: no ways."""
    own = info.get("config", {}).get("episodes", {})
    sizes = [n for n in ONE if n in own and (n != "ways" or info.get("classes"))]
    said = ", ".join(f"{own[n]} {n if own[n] != 1 else ONE[n]}" for n in sizes)
    counts = [f"{own[n]:,} to {does}" for n, does in JUDGED.items() if n in own]
    return "; ".join(filter(None, (said, ", ".join(counts))))


def higher_is_better(metric: str) -> bool:
    """False for names of errors and losses: `rmse`, `word_error`, `loss`."""
    last = metric.lower().rsplit("/", 1)[-1]
    return not any(last == low or last.endswith(f"_{low}") for low in _LOWER_IS_BETTER)


def score(values: Iterable[float]) -> Score:
    """Mean and sample deviation over seeds."""
    values = tuple(float(v) for v in values)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Score(values, float(np.mean(values)), sd)


def _metrics(study: Study) -> tuple[str, ...]:
    """Numbers that the results' `test` holds: the headline first, without the loss."""
    metric = study.info["metric"]
    found: dict[str, None] = {metric: None}
    for run in _ended(study):
        test = run.result.get("test") or {}
        if metric not in test:
            raise StudyError(
                f"{run.path / RESULT}: test has no {metric!r}, the study's metric; "
                f"it holds: {', '.join(test) or 'nothing'}"
            )
        found |= {k: None for k, v in test.items() if _is_number(v) and k != "loss"}
    return tuple(found)


def _ended(study: Study) -> list:
    return [run for runs in study.runs.values() for run in runs if run.result]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _scores(results: list[dict], split: str) -> dict[str, Score]:
    """Each number that all seeds have."""
    tests = [result.get(split) or {} for result in results]
    names = [k for k in (tests[0] if tests else {}) if _is_number(tests[0][k])]
    return {
        name: score(test[name] for test in tests)
        for name in names
        if all(_is_number(test.get(name)) for test in tests)
    }


def _interval(results: list[dict], metric: str) -> tuple[float, float] | None:
    pairs = [(r["test"].get("intervals") or {}).get(metric) for r in results]
    if not pairs or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        return None
    low, high = np.mean(np.asarray(pairs, float), axis=0)
    return float(low), float(high)


def _row(study: Study, name: str, metrics: tuple[str, ...]) -> Row:
    """One strategy, not yet compared with the reference."""
    about: Mapping[str, Any] = study.info["strategies"][name] or {}
    runs = study.runs[name]
    results = [run.result for run in runs if run.result]

    def mean(key: str) -> float | None:
        known = [r[key] for r in results if _is_number(r.get(key))]
        return float(np.mean(known)) if known else None

    def first(key: str) -> int | None:
        return next((int(r[key]) for r in results if _is_number(r.get(key))), None)

    return Row(
        name=name,
        title=str(about.get("title") or name),
        note=str(about.get("note") or ""),
        done=len(results),
        expected=len(runs),
        scores=_scores(results, "test"),
        validation=_scores(results, "validation"),
        interval=_interval(results, metrics[0]),
        trainable=first("trainable"),
        total=first("total"),
        seconds=mean("seconds"),
        compile_seconds=mean("compile_seconds"),
        memory=mean("peak_memory_mb"),
        step=mean("step_seconds"),
        saved=mean("saved_mb"),
    )


def _gain_interval(ours: list[float], theirs: list[float]) -> Interval | None:
    gains = np.subtract(ours, theirs)
    return gain_interval(gains) if np.isfinite(gains).all() else None


def _against(study: Study, row: Row, reference: str, metric: str, higher: bool) -> Row:
    """The row with its ratio and verdict: same seeds, same test rows."""
    both = [
        (a, b)
        for a, b in zip(study.runs[row.name], study.runs[reference], strict=True)
        if a.result and b.result
    ]
    if not both:
        return row
    ours = [a.result["test"][metric] for a, _ in both]
    theirs = [b.result["test"][metric] for _, b in both]
    task = study.info.get("task", "classification")
    return row._replace(
        ratio=paired.ratio(ours, theirs, higher),
        gain=float(np.mean(ours) - np.mean(theirs)),
        gain_interval=_gain_interval(ours, theirs),
        comparison=paired.compare(task, [(a.path, b.path) for a, b in both]),
    )
