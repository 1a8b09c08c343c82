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
    "plan": (FREEZE, {"transform": "rate", "where": ".*/bias", "value": 1.0}, HEAD),
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
