"""Eight LoRAs over one frozen MiniLM in one program, against eight runs of PEFT."""

import time
from typing import Any

from experiments.benchmarks import in_torch, minilm, ours, pairs
from experiments.benchmarks.kinds import Ready, Row
from experiments.benchmarks.rows.lora import NEEDS, RANK, RATE

COUNT, BATCH, LENGTH = 8, 8, 64
QV = r"blocks/\d+/attention/(query|value)"


def with_us(dtype: str) -> Ready:
    """Eight seeds; `many` chooses how they are batched."""
    import jax

    from tl_jax import optim
    from tl_jax.algorithms import supervised
    from tl_jax.algorithms.many import many
    from tl_jax.losses import cross_entropy
    from tl_jax.transfer import chain, freeze, full, lora, rate, set_head
    from tl_jax.types import Player

    base = minilm.ours(dtype)
    head = set_head(*minilm.head())
    method = chain(head, freeze(".*"), lora(RANK, QV), rate("head/.*", 1.0))
    start, tx = full(base.params, base.stats), optim.adamw(RATE)
    runs = [
        {ours.PLAYER: Player(base.model, method(jax.random.key(i), start), tx)}
        for i in range(COUNT)
    ]

    def loss(outputs: Any, stream: Any) -> Any:
        return cross_entropy(outputs.logits, stream["labels"])

    algorithm = many(supervised(runs[0], loss))
    key = jax.random.key(0)
    state, frozen = algorithm.init(key, runs)
    batch = jax.device_put({"train": minilm.stream(BATCH, LENGTH)})
    args = state, frozen, batch, key
    program, seconds = ours.compiled(algorithm.step, args, (0,))
    facts: dict[str, Any] = {}

    def call() -> None:
        nonlocal state
        state, metrics = jax.block_until_ready(program(state, frozen, batch, key))
        facts.setdefault("losses of the first step", metrics["loss"].tolist())

    return Ready(call, ours.flops_of(program), seconds, facts=lambda: facts)


def with_peft(compile: bool, dtype: str) -> Ready:
    """Eight models, a step of each, one after another."""
    import torch
    from peft import LoraConfig, get_peft_model

    made = minilm.batch(BATCH, LENGTH)
    tokens, mask = (torch.as_tensor(made[n]).long() for n in ("tokens", "mask"))
    steps, taken = [], time.perf_counter()
    for _ in range(COUNT):
        config = LoraConfig(
            r=RANK, lora_alpha=8, lora_dropout=0.0, target_modules=["query", "value"]
        )
        body = get_peft_model(minilm.theirs(), config)
        module = minilm.classifier(body).train()
        steps.append(
            in_torch.training(
                module,
                lambda module=module: module(tokens, mask),
                minilm.labels(BATCH),
                rate=RATE,
                compile=compile,
                dtype=dtype,
            )
        )

    def call() -> None:
        for step in steps:
            step.call()

    facts = {"seconds to build": time.perf_counter() - taken}
    return Ready(call, compiles=compile, facts=lambda: facts | steps[0].facts())


ROWS = (
    Row(
        "lora_eight",
        "MiniLM, eight LoRAs",
        f"A step of AdamW of each of {COUNT} LoRAs of rank {RANK} and their heads on "
        f"the same batch of {BATCH} rows of {LENGTH} tokens, real weights.",
        ours=pairs.ours(f"{__name__}:with_us", pairs.BOTH),
        peers=pairs.peers(
            "PEFT, eight runs", f"{__name__}:with_peft", NEEDS, pairs.BOTH
        ),
        examples=COUNT * BATCH,
        product=(BATCH * LENGTH, minilm.WIDTH, 4 * minilm.WIDTH),
        tried=(
            "Runs one after another in one program on CPUs, side by side elsewhere: "
            "see `tl_jax.algorithms.many`, whose docstring has both.",
        ),
    ),
)
