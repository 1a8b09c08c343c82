"""Ways to reuse a pretrained transformer, as data; configs add rates of their own."""

FREEZE = {"transform": "freeze", "where": ".*"}
OPEN = {"transform": "rate", "where": ".*", "value": 1.0}
HEAD = {"transform": "rate", "where": "head/.*", "value": 1.0}

FROM_SCRATCH = {
    "title": "From scratch",
    "note": "the same architecture, random weights",
    "pretrained": False,
}
FULL = {"title": "Full fine-tuning", "note": "everything at one rate"}
LINEAR_PROBE = {
    "title": "Linear probe",
    "note": "logistic regression on frozen features",
    "plan": (FREEZE, HEAD),
    "fit": "linear_probe",
}
LORA = {
    "title": "LoRA",
    "note": "rank 8 beside queries and values, and the head",
    "plan": (
        FREEZE,
        {
            "transform": "lora",
            "rank": 8,
            "where": r"blocks/\d+/attention/(query|value)",
            "alpha": 16.0,
        },
        HEAD,
    ),
}
PARTIAL = {
    "title": "Partial freezing",
    "note": "the top two blocks and the head",
    "plan": (FREEZE, {"transform": "top", "count": 2}),
}
BIAS = {
    "title": "BitFit",
    "note": "biases and the head",
    "plan": (FREEZE, {"transform": "bitfit"}, HEAD),
}
NORMS = {
    "title": "LayerNorm tuning",
    "note": "scales and biases of the norms, and the head",
    "plan": (FREEZE, {"transform": "layer_norms"}, HEAD),
}
BATCH_NORMS = {
    "title": "Batch norms alone",
    "note": "scales, biases and statistics of the norms, and the head",
    "plan": (FREEZE, {"transform": "batch_norms"}, HEAD),
}
SURGICAL = {
    "title": "Surgical fine-tuning",
    "note": "the first block and the head",
    "plan": (FREEZE, {"transform": "blocks", "first": 0, "last": 0}, HEAD),
}
RIDGE_PROBE = {
    "title": "Ridge probe",
    "note": "least squares on frozen features, in closed form, by leave-one-out",
    "plan": (FREEZE, HEAD),
    "fit": "ridge",
}
L2_SP = {
    "title": "L2-SP",
    "note": "everything, drawn to where it began",
    "penalties": {"l2_sp": {"strength": 0.1, "head_strength": 0.01}},
}
DELTA = {
    "title": "DELTA",
    "note": "everything, features kept near those of the start",
    "penalties": {"delta": {"strength": 0.01, "head_strength": 0.01}},
}
BSS = {
    "title": "BSS",
    "note": "everything, small singular values of the features shrunk",
    "penalties": {"bss": {"strength": 1e-3, "k": 1}},
}
CO_TUNING = {
    "title": "Co-Tuning",
    "note": "everything, the old head beside the new one",
    "penalties": {"co_tuning": {"strength": 2.3}},
}
LP_FT = {
    "title": "Probe, then fine-tune",
    "note": "the head is fitted first, so that it distorts fewer features",
    "phases": {
        "1_probe": {"plan": (FREEZE, HEAD), "fit": "linear_probe"},
        "2_tune": {"plan": (OPEN,)},
    },
}
GRADUAL = {
    "title": "Gradual unfreezing",
    "note": "the head, one block, two blocks, everything",
    "phases": {
        "1_head": {"plan": (FREEZE, HEAD), "steps": 0.25},
        "2_one": {"plan": ({"transform": "top", "count": 1},), "steps": 0.25},
        "3_two": {"plan": ({"transform": "top", "count": 2},), "steps": 0.25},
        "4_all": {"plan": (OPEN,), "steps": 0.25},
    },
}
PLATEAU = {
    "title": "Gradual unfreezing by plateau",
    "note": "one block more where validation stands still, then everything",
    "patience": 2,
    "phases": {
        "1_head": {"plan": (FREEZE, HEAD)},
        "2_one": {"plan": ({"transform": "top", "count": 1},)},
        "3_two": {"plan": ({"transform": "top", "count": 2},)},
        "4_all": {"plan": (OPEN,)},
    },
}
PROMPT = {
    "title": "Prompt tuning",
    "note": "20 words in front, drawn from the vocabulary, and the head",
    "plan": (
        FREEZE,
        {"transform": "prompt", "length": 20, "init": "vocabulary"},
        HEAD,
    ),
}
PREFIX = {
    "title": "Prefix tuning",
    "note": "20 keys and values in every block, made by a network, and the head",
    "plan": (FREEZE, {"transform": "prefix", "length": 20, "hidden": 128}, HEAD),
}
P_TUNING = {
    "title": "P-tuning",
    "note": "20 words in front that an LSTM makes, and the head",
    "plan": (
        FREEZE,
        {"transform": "p_tuning", "length": 20, "form": "lstm", "hidden": 128},
        HEAD,
    ),
}
VPT = {
    "title": "Visual prompts",
    "note": "10 tokens beside the patches in every block, and the head",
    "plan": (FREEZE, {"transform": "vpt", "length": 10, "deep": True}, HEAD),
}
