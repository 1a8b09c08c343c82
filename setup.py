"""Installation of tl_jax: transfer learning in JAX."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "tl_jax" / "__init__.py").read_text()
)[1]

REQUIRED = [
    "absl-py>=2.1",
    "chex>=0.1.92",
    "fonttools>=4.55",  # matplotlib requires it as well
    "grain>=0.2.18",
    "huggingface_hub>=1.0",
    "jax>=0.10.2",
    "matplotlib>=3.9",
    "ml_collections>=1.1",
    "numpy>=2.1",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8",
    "Pillow>=12",
    "psutil>=7.0",
    "rich>=13.9",
    "safetensors>=0.5",
    "scikit-learn>=1.6",
    "scipy>=1.14",
    "tokenizers>=0.22",
]
EXTRAS = {
    "test": ["pytest>=8.3", "pytest-xdist>=3.6", "ruff>=0.9"],
    "tfds": ["tensorflow-datasets>=4.9.10"],
    "tensorboard": ["tensorboardX>=2.6.2"],
    "flax": ["flax>=0.12.8"],
    "equinox": ["equinox>=0.13.8"],
    "chat": ["jinja2>=3.1"],
    "gguf": ["gguf>=0.17"],
    "text": ["rouge-score>=0.1.2", "sacrebleu>=2.5"],
    "torch": ["torch>=2.13,<2.14"],
    "parity": ["torch>=2.13,<2.14", "transformers>=5.23", "peft>=0.21"],
}
for extra in ("tfds", "tensorboard", "flax", "equinox", "gguf", "chat", "text"):
    EXTRAS["test"] += EXTRAS[extra]

setup(
    name="tl_jax",
    version=VERSION,
    description="Transfer learning in one algebra of pure functions, in JAX",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["tl_jax", "tl_jax.*"]),
    package_data={"tl_jax": ["py.typed"]},
    install_requires=REQUIRED,
    extras_require=EXTRAS,
)
