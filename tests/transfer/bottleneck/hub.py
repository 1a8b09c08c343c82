"""AdapterHub's names of weights as paths here."""

import re

import numpy as np

LAYERS = {
    "attention.output": "attention",
    "attention_adapters": "attention",
    "output": "mlp",
    "output.output_adapters": "mlp",
    "output_adapters": "mlp",
}
ADAPTER = re.compile(
    r"(?:bert\.encoder\.layer|vit\.encoder\.layer|model\.layers)\.(\d+)\.(.*)\.adapters\."
    r"(\w)\.(?:adapter_(down|up)(?:\.0)?\.(\w+)|(scaling))"
)
FUSION = re.compile(
    r"bert\.encoder\.layer\.(\d+)\.output\.adapter_fusion_layer\.a,b\.(.*)\.(.*)"
)
INVERTIBLE = re.compile(r"bert\.invertible_adapters\.a\.([FG])\.([02])\.(\w+)")
LEAVES = {
    "weight": "kernel",
    "bias": "bias",
    "b": "bias",
    "W_left": "left",
    "W_right": "right",
}


def ours(patch: str):
    """The translation for a case whose adapters are `patch_attention`, `patch_mlp`."""

    def translate(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
        turned = array.T if name.endswith("weight") else array
        if found := ADAPTER.fullmatch(name):
            block, place, own, side, leaf, scaling = found.groups()
            own = patch if own == "a" else "b"
            at = f"blocks/{block}/patch/{own}_{LAYERS[place]}"
            if scaling:
                return f"{at}/scale", array.reshape(())
            return f"{at}/{side}/{LEAVES[leaf]}", turned
        if found := FUSION.fullmatch(name):
            block, part, leaf = found.groups()
            return f"blocks/{block}/patch/fusion_mlp/{part}/{LEAVES[leaf]}", turned
        if found := INVERTIBLE.fullmatch(name):
            net, layer, leaf = found.groups()
            side = "down" if layer == "0" else "up"
            return f"patch/invertible/{net.lower()}/{side}/{LEAVES[leaf]}", turned
        assert name.endswith("shared_parameters.a.phm_rule"), name
        return f"patch/{patch}/rule", array

    return translate
