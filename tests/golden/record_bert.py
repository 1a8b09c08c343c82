"""Record what transformers computes for tiny random models of the BERT family.

    python tests/golden/record_bert.py [folder of the real MiniLM]

Needs torch and transformers. Writes `bert/<name>/` (config.json, model.safetensors),
`bert.npz` (inputs, logits and every hidden state by name) and, where MiniLM's folder
is given, `minilm.npz` (tokens, pooled features, first 8 dims of each hidden state).
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from sentences import SENTENCES

HERE = Path(__file__).parent
LABELS = {"ForSequenceClassification": 3, "ForTokenClassification": 5}
TINY = dict(vocab_size=60, max_position_embeddings=24, initializer_range=0.2)
BERT = dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32
)
DISTIL = dict(dim=16, n_layers=2, n_heads=4, hidden_dim=32)
MODELS = {
    "bert_model": ("BertModel", BERT),
    "bert_sequence": ("BertForSequenceClassification", BERT),
    "bert_tokens": ("BertForTokenClassification", BERT | {"hidden_act": "relu"}),
    "bert_answers": ("BertForQuestionAnswering", BERT | {"hidden_act": "gelu_new"}),
    "bert_words": ("BertForMaskedLM", BERT),
    "roberta_sequence": ("RobertaForSequenceClassification", BERT),
    "roberta_tokens": ("RobertaForTokenClassification", BERT),
    "roberta_words": ("RobertaForMaskedLM", BERT),
    "distilbert_sequence": ("DistilBertForSequenceClassification", DISTIL),
    "distilbert_answers": ("DistilBertForQuestionAnswering", DISTIL),
    "distilbert_words": ("DistilBertForMaskedLM", DISTIL),
}


def make(architecture: str, settings: dict, seed: int = 0) -> torch.nn.Module:
    """A model whose every weight, norms and biases too, is random."""
    kind = getattr(transformers, architecture).config_class
    padding = 1 if "Roberta" in architecture else 0
    types = {"type_vocab_size": 1} if padding else {}
    head = next((n for end, n in LABELS.items() if architecture.endswith(end)), 2)
    config = kind(**TINY | types | settings, pad_token_id=padding, num_labels=head)
    config.architectures = [architecture]
    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if "orm.weight" in name or "norm.weight" in name else 0.0
            weight.copy_(centre + 0.2 * torch.randn(weight.shape))
    return model


def inputs_for(config, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of 11, 7 and 1 tokens; a padding token in the midst of the first."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(4, config.vocab_size, (3, 11))
    mask = (np.arange(11) < np.array([[11], [7], [1]])).astype(np.int32)
    tokens = np.where(mask, tokens, config.pad_token_id)
    tokens[0, 5] = config.pad_token_id
    found = {"tokens": tokens.astype(np.int32), "mask": mask}
    if getattr(config, "type_vocab_size", 0) > 1:
        found["types"] = rng.integers(0, 2, (3, 11)).astype(np.int32)
    return found


def reference(model: torch.nn.Module, inputs: dict) -> dict[str, np.ndarray]:
    """Logits, pooler and hidden states as transformers computes them."""
    names = {"tokens": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}
    given = {names[k]: torch.tensor(np.asarray(v)).long() for k, v in inputs.items()}
    with torch.no_grad():
        out = model(**given, output_hidden_states=True)
    found = {f"hidden/{i}": h.numpy() for i, h in enumerate(out.hidden_states)}
    if "logits" in out:
        found["logits"] = out.logits.numpy()
    if "start_logits" in out:
        ends = (out.start_logits, out.end_logits)
        found["logits"] = torch.stack(ends, -1).numpy()
    if getattr(out, "pooler_output", None) is not None:
        found["pooler"] = out.pooler_output.numpy()
    return found


def minilm(folder: str) -> dict[str, np.ndarray]:
    """The mean-pooled features and a glimpse of each state of the real model."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer(list(SENTENCES), padding=True, return_tensors="np")
    inputs = {"tokens": given["input_ids"], "mask": given["attention_mask"]}
    found = reference(model, inputs)
    shown = inputs["mask"][..., None].astype(np.float32)
    last = found[f"hidden/{model.config.num_hidden_layers}"]
    features = (last * shown).sum(1) / shown.sum(1)
    kept = {k: v[..., :8] for k, v in found.items() if k.startswith("hidden")}
    inputs = {name: array.astype(np.int32) for name, array in inputs.items()}
    return inputs | kept | {"features": features, "pooler": found["pooler"]}


def main() -> None:
    recorded = {}
    for seed, (name, (architecture, settings)) in enumerate(MODELS.items()):
        model = make(architecture, settings, seed)
        folder = HERE / "bert" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        inputs = inputs_for(model.config, seed)
        found = inputs | reference(model, inputs)
        recorded |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez_compressed(HERE / "bert.npz", **recorded)
    if len(sys.argv) > 1:
        np.savez_compressed(HERE / "minilm.npz", **minilm(sys.argv[1]))


if __name__ == "__main__":
    main()
