"""One file a kind of work: our side and the peer's, next to each other."""

from experiments.benchmarks.kinds import Row
from experiments.benchmarks.rows import (
    adapting,
    discrepancies,
    efficientnet,
    eight,
    features,
    full,
    language,
    lora,
    maml,
    matching,
    pipeline,
    probe,
    prototypes,
    resnet,
    startup,
    tuned,
    vit,
)

MODULES = (
    *(
        lora,
        eight,
        tuned,
        language,
        full,
        features,
        vit,
        resnet,
        efficientnet,
        probe,
        matching,
    ),
    *(maml, prototypes, discrepancies, adapting, matching, startup, pipeline),
)
ROWS: dict[str, Row] = {row.name: row for module in MODULES for row in module.ROWS}
"""Every row by its name, in the order of the table."""
