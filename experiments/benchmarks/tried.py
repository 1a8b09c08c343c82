"""What was tried to make our sides faster, and what came of it.

Seconds are those of prototypes on two cores of an AMD EPYC, before this harness: they
say which way a choice goes, not what a row takes.
"""

TRANSFORMERS = (
    "Kept: glibc told to keep what is freed (`allocator = keep`). XLA maps and unmaps "
    "its temporaries each step: a LoRA step went from 0.95-1.03 to 0.66-0.71 s. "
    "jemalloc that never purges is as good, but needs a launcher; torch gains nothing.",
    "Kept: attention laid out [B H T D] and derivative rules of its own for attention, "
    "GELU and LayerNorm: temporaries from 1,323 to 901 MB, 6 % faster.",
    "Kept: bfloat16 operands with a float32 result, then a cast. A bfloat16 result "
    "takes 2 to 4 times as long.",
    "Lost: blocks under a scan, 0.83-0.87 s and more memory; two host devices with the "
    "batch sharded, 0.85 against 0.67 s.",
    "No gain: XLA's flags for oneDNN, XNNPACK, fusion, vector width, fast-math.",
)
LORA = (
    "Tried: x (W + s a b) forward with a derivative rule by hand, 0.67 s against 0.71 "
    "plain and 0.72 merged with automatic derivatives.",
    "Microbatching by 8 inside the step: half the peak memory for 20 % more time.",
)
CONVOLUTIONS = (
    "Kept: XLA's own convolution. Taps and one product are slower where the kernel is "
    "shared by the batch: 148 against 94-108 ms forward and backward at 64x32x32x64.",
    "No gain: bfloat16 operands.",
    "Two host devices with the batch sharded: 1.25 times as fast for a full ResNet "
    "step; not used in this row.",
)
STARTUP = (
    "Kept: every program in the cache on disk, however quick it was to compile: LoRA's "
    "from 1.05 to 0.33 s.",
    "Kept: heavy imports inside the functions that need them; `tokenizers` instead of "
    "transformers' AutoTokenizer (2.3 s).",
)
PIPELINE = (
    "Kept: an order says which rows make a batch, and the batch is gathered at once: "
    "grain an example at a time gave 850 batches/s without threads, 270 with its own.",
)
