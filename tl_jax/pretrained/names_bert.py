"""Tables of names for BERT, RoBERTa and DistilBERT as transformers saves them."""

from collections.abc import Mapping
from typing import NamedTuple

from tl_jax.models.bert import Features, Head
from tl_jax.pretrained.names import Row

BODY: list[Row] = [
    ("embed/tokens", "embeddings.word_embeddings", "table"),
    ("embed/positions", "embeddings.position_embeddings", "table"),
    ("embed/types", "embeddings.token_type_embeddings", "table"),
    ("embed/norm", "embeddings.LayerNorm", "norm"),
    ("blocks/{i}/attention/query", "encoder.layer.{i}.attention.self.query", "dense"),
    ("blocks/{i}/attention/key", "encoder.layer.{i}.attention.self.key", "dense"),
    ("blocks/{i}/attention/value", "encoder.layer.{i}.attention.self.value", "dense"),
    (
        "blocks/{i}/attention/output",
        "encoder.layer.{i}.attention.output.dense",
        "dense",
    ),
    (
        "blocks/{i}/norm_attention",
        "encoder.layer.{i}.attention.output.LayerNorm",
        "norm",
    ),
    ("blocks/{i}/mlp/up", "encoder.layer.{i}.intermediate.dense", "dense"),
    ("blocks/{i}/mlp/down", "encoder.layer.{i}.output.dense", "dense"),
    ("blocks/{i}/norm_mlp", "encoder.layer.{i}.output.LayerNorm", "norm"),
]
DISTIL: list[Row] = [
    ("embed/tokens", "embeddings.word_embeddings", "table"),
    ("embed/positions", "embeddings.position_embeddings", "table"),
    ("embed/norm", "embeddings.LayerNorm", "norm"),
    ("blocks/{i}/attention/query", "transformer.layer.{i}.attention.q_lin", "dense"),
    ("blocks/{i}/attention/key", "transformer.layer.{i}.attention.k_lin", "dense"),
    ("blocks/{i}/attention/value", "transformer.layer.{i}.attention.v_lin", "dense"),
    ("blocks/{i}/attention/output", "transformer.layer.{i}.attention.out_lin", "dense"),
    ("blocks/{i}/norm_attention", "transformer.layer.{i}.sa_layer_norm", "norm"),
    ("blocks/{i}/mlp/up", "transformer.layer.{i}.ffn.lin1", "dense"),
    ("blocks/{i}/mlp/down", "transformer.layer.{i}.ffn.lin2", "dense"),
    ("blocks/{i}/norm_mlp", "transformer.layer.{i}.output_layer_norm", "norm"),
]
POOLER: list[Row] = [("pooler", "pooler.dense", "dense")]


class HeadTable(NamedTuple):
    """One architecture's head: its names, and what it reads."""

    over: Head
    rows: list[Row]
    features: Features = "mean"
    rates: tuple[str, ...] = ()
    """Fields of the config with its dropout rate, the first that is set; none: 0."""
    tied: Mapping[str, str] = {}
    """The file's copies of what we hold once."""
    exact: bool = False
    """True where the head computes an exact GELU whatever the config says."""


LINEAR: list[Row] = [("head", "classifier", "dense")]
ANSWERS: list[Row] = [("head", "qa_outputs", "dense")]
USUAL = ("classifier_dropout", "hidden_dropout_prob")
BERT_WORDS = HeadTable(
    "vocabulary",
    [
        ("head/hidden", "cls.predictions.transform.dense", "dense"),
        ("head/norm", "cls.predictions.transform.LayerNorm", "norm"),
        ("head/bias", "cls.predictions.bias", "leaf"),
    ],
    tied={
        "cls.predictions.decoder.weight": "embed/tokens/embedding",
        "cls.predictions.decoder.bias": "head/bias",
    },
)
ROBERTA_WORDS = HeadTable(
    "vocabulary",
    [
        ("head/hidden", "lm_head.dense", "dense"),
        ("head/norm", "lm_head.layer_norm", "norm"),
        ("head/bias", "lm_head.bias", "leaf"),
    ],
    tied={
        "lm_head.decoder.weight": "embed/tokens/embedding",
        "lm_head.decoder.bias": "head/bias",
    },
    exact=True,
)
DISTIL_WORDS = HeadTable(
    "vocabulary",
    [
        ("head/hidden", "vocab_transform", "dense"),
        ("head/norm", "vocab_layer_norm", "norm"),
        ("head/bias", "vocab_projector.bias", "leaf"),
    ],
    tied={"vocab_projector.weight": "embed/tokens/embedding"},
)


class Family(NamedTuple):
    """What differs between the kin."""

    prefix: str
    classes: str
    """How its architectures begin."""
    body: list[Row]
    heads: Mapping[str, HeadTable]
    """Rest of an architecture's name -> head."""
    fields: Mapping[str, str]
    """Our setting -> the config's field."""
    hidden_activation: str = "tanh"
    counts_from_padding: bool = False
    pooler: bool = True


FIELDS = dict(
    width="hidden_size",
    depth="num_hidden_layers",
    heads="num_attention_heads",
    hidden="intermediate_size",
    vocabulary="vocab_size",
    positions="max_position_embeddings",
    types="type_vocab_size",
    epsilon="layer_norm_eps",
    rate="hidden_dropout_prob",
    attention_rate="attention_probs_dropout_prob",
    activation="hidden_act",
)
BERT = Family(
    "bert",
    "Bert",
    BODY,
    {
        "ForSequenceClassification": HeadTable("sequence", LINEAR, "pooler", USUAL),
        "ForTokenClassification": HeadTable("tokens", LINEAR, rates=USUAL),
        "ForQuestionAnswering": HeadTable("tokens", ANSWERS),
        "ForMaskedLM": BERT_WORDS,
        "ForPreTraining": BERT_WORDS,
    },
    FIELDS,
)
ROBERTA = Family(
    "roberta",
    "Roberta",
    BODY,
    {
        "ForSequenceClassification": HeadTable(
            "sequence",
            [
                ("head/hidden", "classifier.dense", "dense"),
                ("head", "classifier.out_proj", "dense"),
            ],
            "cls",
            USUAL,
        ),
        "ForTokenClassification": HeadTable("tokens", LINEAR, rates=USUAL),
        "ForQuestionAnswering": HeadTable("tokens", ANSWERS),
        "ForMaskedLM": ROBERTA_WORDS,
    },
    FIELDS,
    counts_from_padding=True,
)
DISTILBERT = Family(
    "distilbert",
    "DistilBert",
    DISTIL,
    {
        "ForSequenceClassification": HeadTable(
            "sequence",
            [
                ("head/hidden", "pre_classifier", "dense"),
                ("head", "classifier", "dense"),
            ],
            "cls",
            ("seq_classif_dropout",),
        ),
        "ForTokenClassification": HeadTable("tokens", LINEAR, rates=("dropout",)),
        "ForQuestionAnswering": HeadTable("tokens", ANSWERS, rates=("qa_dropout",)),
        "ForMaskedLM": DISTIL_WORDS,
    },
    dict(
        width="dim",
        depth="n_layers",
        heads="n_heads",
        hidden="hidden_dim",
        vocabulary="vocab_size",
        positions="max_position_embeddings",
        rate="dropout",
        attention_rate="attention_dropout",
        activation="activation",
    ),
    hidden_activation="relu",
    pooler=False,
)
FAMILIES = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA._replace(classes="XLMRoberta"),
    "distilbert": DISTILBERT,
}
"""`model_type` -> family."""
