"""Steps of SmolLM2 on the next token: everything, LoRA, and LoRA over four bits."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import in_torch, ours
from experiments.benchmarks.kinds import Ready, Row, Side

BATCH, LENGTH, RANK, RATE = 4, 128, 8, 1e-4
WORDS = 49152
QV = r"blocks/\d+/attention/(query|value)"
NEEDS = ("torch", "transformers", "peft")
METHODS = {"qlora": "QLoRA", "lora": "LoRA", "full": "full"}


def tokens() -> np.ndarray:
    """Random words [B T]."""
    return np.random.default_rng(0).integers(0, WORDS, (BATCH, LENGTH), np.int32)


def with_us(name: str) -> Ready:
    """Blocks under a scan, each computed anew in the backward pass."""
    import jax
    import optax

    from tl_jax import optim, pretrained
    from tl_jax.transfer import chain, freeze, full, lora, quantise, stack_layers

    base = pretrained.load("smollm2", remat=True)
    methods = {
        "full": (),
        "lora": (freeze(".*"), lora(RANK, QV)),
        "qlora": (freeze(".*"), quantise(), lora(RANK, QV)),
    }
    plan = chain(*methods[name])(jax.random.key(0), full(base.params, base.stats))
    model, plan = base.model, stack_layers(plan)
    del base

    def loss(outputs: Any, stream: Any) -> Any:
        logits, words = outputs.logits[:, :-1], stream["inputs"]["tokens"][:, 1:]
        each = optax.softmax_cross_entropy_with_integer_labels(logits, words)
        return each.mean(-1)

    own = tokens()
    inputs = {"tokens": own, "mask": np.ones_like(own)}
    stream = {"inputs": inputs, "labels": own, "weight": np.ones(BATCH, np.float32)}
    return ours.training(model, plan, optim.adamw(RATE), stream, loss)


def with_peft(name: str) -> Ready:
    """transformers' Llama of the same weights, checkpointed as ours is."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(exported(), dtype=torch.float32)
    module.config.use_cache = False
    if name == "lora":
        targets = ["q_proj", "v_proj"]
        config = LoraConfig(r=RANK, lora_alpha=8, target_modules=targets)
        module = get_peft_model(module, config)
        module.enable_input_require_grads()
    module.gradient_checkpointing_enable({"use_reentrant": False})
    module.train()
    words = torch.as_tensor(tokens()).long()

    def logits() -> Any:
        return module(input_ids=words).logits[:, :-1].reshape(-1, WORDS)

    return in_torch.training(module, logits, words[:, 1:].reshape(-1), rate=RATE)


def exported() -> Path:
    """The weights in transformers' format, in a folder that lasts as long as needed."""
    from tl_jax import pretrained

    folder = Path(tempfile.gettempdir()) / "tl_jax-benchmark-smollm2"
    if not (folder / "model.safetensors").is_file():
        pretrained.save(folder, pretrained.load("smollm2"), overwrite=True)
    return folder


ROWS = (
    Row(
        "smollm2",
        "SmolLM2-135M, next token",
        f"One step of AdamW, batch {BATCH} of {LENGTH} tokens, blocks computed anew "
        f"in the backward pass; LoRA of rank {RANK} at query and value.",
        ours=tuple(
            Side(f"tl_jax, {title}", f"{__name__}:with_us", {"name": name}, "jax")
            for name, title in METHODS.items()
        ),
        peers=tuple(
            Side(
                f"{who}, eager",
                f"{__name__}:with_peft",
                {"name": name},
                "torch",
                needs=NEEDS,
                against=f"tl_jax, {METHODS[name]}",
            )
            for name, who in (("lora", "PEFT, LoRA"), ("full", "transformers, full"))
        ),
        examples=BATCH,
        product=(BATCH * LENGTH, 576, WORDS),
        tried=(
            "Kept: blocks under a scan. Unrolled, XLA's CPU compiler keeps the "
            "dequantised kernels of many blocks at once: temporaries of QLoRA's step "
            "1,346 MB against 240.",
            "Kept: a product with a quantised kernel is computed anew in the backward "
            "pass, from the codes: no float kernel lives between the passes.",
        ),
    ),
)
"""What counts here is the peak of memory: QLoRA's against the full step's."""
