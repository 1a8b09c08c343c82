"""One file a family: a constructor that returns a `Model`."""

from tl_jax.models.answering import answering
from tl_jax.models.bert import bert
from tl_jax.models.context import full_context
from tl_jax.models.conv4 import conv4
from tl_jax.models.frozen import frozen_features
from tl_jax.models.generator import generator
from tl_jax.models.gpt2 import gpt2
from tl_jax.models.inverted import efficientnet_lite, mobilenet_v2
from tl_jax.models.llama import llama
from tl_jax.models.mlp import mlp
from tl_jax.models.patch_critic import patch_critic
from tl_jax.models.prepared import prepared
from tl_jax.models.readout import readout
from tl_jax.models.relation import relation_module
from tl_jax.models.resnet import resnet
from tl_jax.models.shared_space import shared_space
from tl_jax.models.squeezenet import squeezenet
from tl_jax.models.t5 import t5
from tl_jax.models.values import values
from tl_jax.models.vit import vit
from tl_jax.models.writing import writing

__all__ = [
    "answering",
    "bert",
    "conv4",
    "efficientnet_lite",
    "frozen_features",
    "full_context",
    "generator",
    "gpt2",
    "llama",
    "mlp",
    "mobilenet_v2",
    "patch_critic",
    "prepared",
    "readout",
    "relation_module",
    "resnet",
    "shared_space",
    "squeezenet",
    "t5",
    "values",
    "vit",
    "writing",
]
