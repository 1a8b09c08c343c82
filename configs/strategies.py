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
QV = r"blocks/\d+/attention/(query|value)"
QLORA = {
    "title": "QLoRA",
    "note": "LoRA over a base of 4 bits (NF4), and the head",
    "plan": (FREEZE, {"transform": "quantise"}, *LORA["plan"][1:]),
}
RSLORA = {
    "title": "rsLoRA",
    "note": "LoRA of rank 16 scaled by its root, and the head",
    "plan": (FREEZE, {"transform": "rslora", "rank": 16, "where": QV}, HEAD),
}
LORA_PLUS = {
    "title": "LoRA+",
    "note": "LoRA whose second factor learns 16 times as fast, and the head",
    "plan": (FREEZE, {"transform": "lora_plus", "rank": 8, "where": QV}, HEAD),
}
DORA = {
    "title": "DoRA",
    "note": "directions by LoRA of rank 8, columns' lengths apart, and the head",
    "plan": (
        FREEZE,
        {"transform": "dora", "rank": 8, "where": QV, "alpha": 16.0},
        HEAD,
    ),
}
PISSA = {
    "title": "PiSSA",
    "note": "LoRA that begins with the principal singular values, and the head",
    "plan": (FREEZE, {"transform": "pissa", "rank": 8, "where": QV}, HEAD),
}
OLORA = {
    "title": "OLoRA",
    "note": "LoRA that begins with orthonormal directions, and the head",
    "plan": (FREEZE, {"transform": "olora", "rank": 8, "where": QV}, HEAD),
}
ADALORA = {
    "title": "AdaLoRA",
    "note": "singular values from rank 12 to 8 on average, and the head",
    "plan": (
        FREEZE,
        {"transform": "adalora", "rank": 12, "where": QV, "alpha": 32.0},
        HEAD,
    ),
    "penalties": {"orthogonal": {"strength": 0.5}},
    "budget": {"target": 8},
}
VERA = {
    "title": "VeRA",
    "note": "two vectors a layer around shared random matrices, and the head",
    "plan": (FREEZE, {"transform": "vera", "rank": 256, "where": QV}, HEAD),
}
LOHA = {
    "title": "LoHa",
    "note": "elementwise products of two of rank 8, and the head",
    "plan": (FREEZE, {"transform": "loha", "rank": 8, "where": QV}, HEAD),
}
LOKR = {
    "title": "LoKr",
    "note": "Kronecker products, one factor of rank 8, and the head",
    "plan": (FREEZE, {"transform": "lokr", "rank": 8, "where": QV}, HEAD),
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
IA3 = {
    "title": "(IA)3",
    "note": "factors of keys, values and hidden activations, and the head",
    "plan": (FREEZE, {"transform": "ia3"}, HEAD),
}
HOULSBY = {
    "title": "Houlsby's adapters",
    "note": "two bottlenecks a block, and the head",
    "plan": (FREEZE, {"transform": "houlsby", "reduction": 16.0}, HEAD),
}
PFEIFFER = {
    "title": "Pfeiffer's adapters",
    "note": "one bottleneck a block, and the head",
    "plan": (FREEZE, {"transform": "pfeiffer", "reduction": 16.0}, HEAD),
}
PARALLEL = {
    "title": "Scaled parallel adapters",
    "note": "a bottleneck beside each MLP, four times what it says, and the head",
    "plan": (
        FREEZE,
        {"transform": "parallel_adapter", "reduction": 16.0, "scale": 4.0},
        HEAD,
    ),
}
COMPACTER = {
    "title": "Compacter",
    "note": "two bottlenecks a block of Kronecker products by shared rules, the head",
    "plan": (FREEZE, {"transform": "compacter", "reduction": 16.0}, HEAD),
}
ADAPTER_DROP = {
    "title": "AdapterDrop",
    "note": "Pfeiffer's adapters, without them in the lowest 0 to 4 blocks",
    "plan": (
        FREEZE,
        {"transform": "pfeiffer", "reduction": 16.0},
        {"transform": "adapter_drop", "most": 4},
        HEAD,
    ),
}
SPARSE = {
    "title": "Sparse by magnitude",
    "note": "the largest 1 % of each of the blocks' kernels, and the head",
    "plan": (
        FREEZE,
        {"transform": "magnitude_mask", "share": 0.01, "where": "blocks/.*/kernel"},
        HEAD,
    ),
}
FISH = {
    "title": "FISH mask",
    "note": "the 0.5 % of the blocks' numbers with most Fisher information, and the "
    "head; `experiments.measure` makes the file",
    "plan": (
        FREEZE,
        {
            "transform": "fish_mask",
            "scores": "runs/measured/fisher.safetensors",
            "share": 0.005,
            "where": "blocks/.*",
        },
        HEAD,
    ),
}
EVA = {
    "title": "EVA",
    "note": "LoRA along what query and value read; `experiments.measure` makes the "
    "file of moments",
    "plan": (
        FREEZE,
        {
            "transform": "eva",
            "moments": "runs/measured/moments.safetensors",
            "rank": 8,
            "where": QV,
        },
        HEAD,
    ),
}
KNN = {
    "title": "kNN probe",
    "note": "the nearest training rows vote; `experiments.measure` makes their file",
    "plan": (
        FREEZE,
        {"transform": "knn", "rows": "runs/measured/features.safetensors", "k": 20},
    ),
    "steps": 0,
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
