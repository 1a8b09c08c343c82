"""Every field that a config has, with its default. Other configs change a few.

A field is changed on the command line by `--config.field=value`.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The defaults: a BERT-like recipe without strategies."""
    del arg
    config = ConfigDict()
    config.name = "study"
    # Or regression, multilabel, tokens, span, seq2seq, causal, fewshot,
    # fewshot_regression.
    config.task = "classification"
    config.seeds = (0,)
    config.run = ""  # names of strategies with commas, in the order in which they run
    config.reference = ""  # the strategy that others are compared with
    config.strategies = ConfigDict()
    # All strategies of a seed in one program: auto, map or vmap; empty: one by one.
    config.together = ""

    config.model = ConfigDict()
    # An asset, a Hugging Face folder, a hub's id, a .pth file with `architecture`, or
    # shape:NAME, a model without weights: conv4, resnet18, vit-tiny, bert-small, ...
    config.model.spec = "minilm"
    config.model.architecture = ""  # of a .pth file: resnet18, resnet50, mobilenet_v2
    config.model.stem = ""  # of shape:resnet: imagenet, cifar; empty: imagenet
    config.model.patch = 0  # of shape:vit: pixels an edge; 0: 16
    config.model.channels = 0  # of any shape:NAME of pictures; 0: 3
    config.model.filters = 0  # of shape:conv4; 0: 64
    config.model.down = ""  # of shape:conv4: pool, stride; empty: pool
    config.model.inputs = 0  # of shape:mlp, shape:linear: numbers an example; 0: 1
    config.model.widths = ()  # of shape:mlp; empty: 128, 128
    config.model.std = 0.0  # of shape:mlp's first kernels; 0: He's
    config.model.activation = ""  # of shape:mlp: relu, tanh, ...; empty: relu
    config.model.multiplier = 0.0  # of shape:mobilenet-v2's widths; 0: 1
    # Of shape:bert, :llama and :t5: an asset, a folder, a hub's id; `words` makes one
    # of the data's own words.
    config.model.tokenizer = ""
    config.model.vocabulary = 0  # of shape:t5: words; 0: 32,128
    config.model.features = ""  # mean, cls, pooler; empty: what the weights ask for
    config.model.head = "drop"  # or keep: the weights' own, which co_tuning reads
    config.model.dtype = "float32"  # what products compute in; or bfloat16
    config.model.rules = ""  # of derivatives: hand, auto (JAX's own); empty: hand
    config.model.form = ""  # of convolutions: auto, lax, taps; empty: the model's own
    config.model.remat = False  # recompute blocks in the backward pass
    config.model.stack = False  # run equal blocks under one scan: compiles faster
    config.model.dropout = -1.0  # below 0: what the weights' own config says

    config.data = ConfigDict()
    config.data.source = "bbc"  # a name of the catalogue, a file, a folder, tfds:NAME
    config.data.text = ""  # a file's column; empty: text, for task tokens: tokens
    config.data.label = ""  # empty: label; for tokens: labels; seq2seq, causal: target
    config.data.length = 128  # tokens an example, at most
    # Of task causal: ask in the model's chat template, under a system's message; put
    # several texts in a row of so many tokens (0: one each).
    config.data.chat = True
    config.data.system = ""
    config.data.pack = 0
    config.data.target_length = 32  # of tasks of texts: tokens of an answer, at most
    config.data.size = 0  # pixels an edge of pictures; 0: what the weights ask for
    config.data.mean = ()  # of colours in 0..1; empty: what the weights ask for
    config.data.std = ()
    config.data.background = "white"  # behind what is transparent in a picture
    config.data.damaged = "raise"  # or skip: leave damaged pictures out, and say so
    config.data.buckets = ()  # padded lengths; empty: powers of two up to `length`
    config.data.per_class = 0  # training examples a class; 0: all
    config.data.validation_per_class = 0  # beside `per_class`
    config.data.validation = 0.1  # share of what is not test, if all are used
    config.data.test = 0.2  # share, where the source has no test split
    config.data.test_limit = 0  # test examples, at most; 0: all
    config.data.split_by = "class"  # hash: by each text alone, however the data grow
    config.data.split_seed = 0

    config.writing = ConfigDict()  # how answers are written when they are scored
    config.writing.beams = 1  # 1: greedy
    config.writing.penalty = 1.0  # of beams: scores are over length^penalty

    # Of fewshot tasks; there config.batch_size and eval_batch_size count tasks. With
    # `train: "classes"` a step reads as many rows as such a batch of episodes has.
    config.episodes = ConfigDict()
    config.episodes.ways = 5  # classes of an episode
    config.episodes.shots = 1  # examples a class to learn from; of regression, in all
    config.episodes.queries = 15  # the same, to predict
    config.episodes.train_ways = 0  # the same in meta-training; 0: as above
    config.episodes.train_shots = 0
    config.episodes.train_queries = 0
    config.episodes.validation = 200  # episodes of each evaluation
    config.episodes.test = 600
    config.episodes.sampler = "device"  # draw within the step; or host
    config.episodes.curve = ()  # also test after these numbers of adaptation steps

    # Of two domains: data.source has labels, shift.target is what the model is for.
    # Its labels reach no loss and no choice, but where a strategy opens some of them
    # (`target_labelled`); rows of its own judge.
    config.shift = ConfigDict()
    config.shift.target = ""  # named as data.source is; empty: one domain
    config.shift.sources = ()  # more domains with labels, beside data.source
    config.shift.pairs = ()  # (source, target), ...: a study of each, in one workdir
    # Most rows of the target that adaptation sees, drawn anew for each seed; 0: all.
    # A map of features (`align`) is fitted on the first seed's.
    config.shift.limit = 0
    config.shift.batch_size = 0  # rows of the target a step; 0: as of the source
    config.shift.joint = True  # both domains pass in one batch; or one after another
    # The body's features are computed once, by the pretrained weights; what is
    # adapted is a network over them, of these widths (none: a linear head alone).
    config.shift.features = False
    config.shift.network = ()

    config.augment = ()  # {"augment": name, arguments}, of tl_jax.data.augment

    config.steps = 0  # 0: as many as `epochs` take
    config.epochs = 3.0
    config.batch_size = 32
    config.eval_batch_size = 64
    config.accumulate = 1  # microbatches a step
    config.smoothing = 0.0
    config.class_weights = "none"  # or balanced

    config.optimiser = ConfigDict()
    config.optimiser.name = "adamw"  # sgd, lbfgs
    config.optimiser.schedule = "linear"  # cosine, constant
    config.optimiser.warmup = 0.1  # a share of the steps, or steps
    config.optimiser.end = 0.0  # the rate that the schedule ends with
    config.optimiser.weight_decay = 0.01
    config.optimiser.b1 = 0.9
    config.optimiser.b2 = 0.999
    config.optimiser.momentum = 0.9  # of sgd
    config.optimiser.clip = 1.0  # the gradient's norm, at most; 0: unbounded

    config.mesh = ConfigDict()
    config.mesh.axes = "data"  # all devices share rows; fsdp; data=4,model=2
    config.mesh.rules = ()  # (path, axes of the last dimensions), before the own ones
    config.mesh.batch_norm = "global"  # or replica: each part of the batch by itself
    config.mesh.host_devices = 0  # make a CPU look like so many devices; 0: as it is

    config.every = ConfigDict()
    # Steps in one compiled call. On CPUs convolutions of the form "lax" are many times
    # slower in a call of several.
    config.every.call = 1
    config.every.log = 10
    config.every.evaluate = 0  # 0: ten times a run
    config.every.checkpoint = 0  # 0: at each evaluation
    # Weights of the best evaluation, or of the last step. Of two domains also by a
    # score that sees no target label: iwcv, dev, circular, entropy, information, bnm,
    # snd (tl_jax/metrics/label_free), source_risk.
    config.select = "best"
    # Evaluations without a better score before a phase ends; 0: never. Phases and
    # strategies may say another.
    config.patience = 0
    config.keep_optimiser = False  # keep what resumes training after the end, too
    config.tensorboard = False
    config.allocator = "system"  # keep: never give memory back, faster on CPUs
    config.resamples = 1000  # of the bootstrap intervals
    return config
