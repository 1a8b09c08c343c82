"""Record what transformers computes and generates for tiny random T5 models.

    python tests/golden/record_t5.py

Needs torch and transformers. Writes `t5/<name>/` (config.json, model.safetensors) and
`t5.npz` (inputs, logits, every hidden state, what is generated, by name).
"""

import shutil
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
TINY = dict(
    vocab_size=30,
    d_model=16,
    d_kv=6,
    d_ff=24,
    num_layers=3,
    num_decoder_layers=2,
    num_heads=4,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=12,
    decoder_start_token_id=0,
)
GATED = dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
MODELS = {
    "t5_tied": ("T5ForConditionalGeneration", {}, 12),
    "t5_gated": ("T5ForConditionalGeneration", GATED, 8),
    "t5_body": ("T5Model", dict(feed_forward_proj="gated-silu"), 2),
    "t5_encoder": ("T5EncoderModel", {}, 3),
}
"""Name -> (architecture, settings, a seed whose searches end apart and early)."""
LENGTH = 12
"""The most tokens that are generated."""
SEARCHES = {
    "greedy": {},
    "beams": dict(num_beams=4),
    "longer": dict(num_beams=4, length_penalty=2.0),
    "shorter": dict(num_beams=3, length_penalty=-1.0),
    "early": dict(num_beams=4, early_stopping=True),
    "never": dict(num_beams=4, early_stopping="never", length_penalty=0.5),
}


def make(
    architecture: str, settings: dict, seed: int = 0, spread: float = 0.4
) -> torch.nn.Module:
    """A model whose every weight, norms too, is random.

    With a large spread what is generated is less even; unscaled scores then amplify
    rounding.
    """
    kind = "MT5" if architecture.startswith("MT5") else "T5"
    config = getattr(transformers, f"{kind}Config")(**TINY | settings)
    config.architectures = [architecture]
    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(config).eval()
    untied = settings.get("tie_word_embeddings") is False and hasattr(model, "lm_head")
    if untied:  # which transformers 5 ties where no file says otherwise
        model.lm_head.weight = torch.nn.Parameter(model.shared.weight.clone())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre, own = (1.0, 0.2) if "norm.weight" in name else (0.0, spread)
            own = 1.0 if "relative" in name else own
            weight.copy_(centre + own * torch.randn(weight.shape))
    return model


def inputs_for(seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of 15, 5 and 11 tokens, padded behind and in front; decoders' of 17, 9, 4.

    So that there are distances beyond the last bucket's first.
    """
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, TINY["vocab_size"], (3, 15))
    mask = np.ones((3, 15), np.int32)
    mask[1, 5:] = mask[2, :4] = 0
    decoder = rng.integers(2, TINY["vocab_size"], (3, 17))
    decoder_mask = np.ones((3, 17), np.int32)
    decoder_mask[1, 9:] = decoder_mask[2, 4:] = 0
    decoder[:, 0] = 0
    made = dict(tokens=tokens * mask, mask=mask)
    made |= dict(decoder_tokens=decoder * decoder_mask, decoder_mask=decoder_mask)
    return {name: value.astype(np.int32) for name, value in made.items()}


def reference(model: torch.nn.Module, inputs: dict) -> dict[str, np.ndarray]:
    """Logits and hidden states of both sides, the last behind the final norm."""
    given = {name: torch.tensor(value).long() for name, value in inputs.items()}
    read = dict(input_ids=given["tokens"], attention_mask=given["mask"])
    read["output_hidden_states"] = True
    with torch.no_grad():
        if "Encoder" in type(model).__name__:
            states = dict(encoder=model(**read).hidden_states)
            logits = None
        else:
            read["decoder_input_ids"] = given["decoder_tokens"]
            read["decoder_attention_mask"] = given["decoder_mask"]
            out = model(**read)
            states = dict(
                encoder=out.encoder_hidden_states, decoder=out.decoder_hidden_states
            )
            logits = out.get("logits")
    found = {
        f"{side}/{i}": h.numpy()
        for side, own in states.items()
        for i, h in enumerate(own)
    }
    return found | ({} if logits is None else {"logits": logits.numpy()})


def generated(model: torch.nn.Module, inputs: dict, **how) -> np.ndarray:
    """Tokens behind the first, [B LENGTH], padded by 0."""
    given = {name: torch.tensor(inputs[name]).long() for name in ("tokens", "mask")}
    tokens = model.generate(
        input_ids=given["tokens"],
        attention_mask=given["mask"],
        max_new_tokens=LENGTH,
        do_sample=False,
        **how,
    ).numpy()[:, 1:]
    return np.pad(tokens, ((0, 0), (0, LENGTH - tokens.shape[1]))).astype(np.int32)


def main() -> None:
    recorded = {}
    for name, (architecture, settings, seed) in MODELS.items():
        model, inputs = make(architecture, settings, seed), inputs_for(seed)
        folder = HERE / "t5" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        found = inputs | reference(model, inputs)
        if architecture.endswith("Generation"):
            for search, how in SEARCHES.items():
                found[f"generated/{search}"] = generated(model, inputs, **how)
        recorded |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez_compressed(HERE / "t5.npz", **recorded)


if __name__ == "__main__":
    main()
