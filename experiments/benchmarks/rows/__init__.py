"""One file a kind of work: our side and the peer's, next to each other."""

from experiments.benchmarks.kinds import Row
from experiments.benchmarks.rows import lora

ROWS: dict[str, Row] = {row.name: row for module in (lora,) for row in module.ROWS}
