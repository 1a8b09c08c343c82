"""What was tried to make our sides faster, and what came of it.

Seconds are those of prototypes on two cores of one AMD EPYC or another, before this
harness: they say which way a choice goes, not what a row takes.
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
    "Kept: in float32 the gradients of LoRA's factors an example at a time, then a "
    "sum; as one product each they were one core's work (4 ms a site, 7 before).",
    "Kept: attention's products in half precision over one batch axis. With two, batch "
    "and heads, XLA's CPU compiler widens the operands: 4 to 6 % of a step.",
    "Lost: x (W + s a b) forward with a derivative rule by hand, 0.67 s against 0.71. "
    "In half precision W + s a b rounds the update away, and under `vmap` each adapter "
    "would hold a kernel of its own.",
    "Lost: attention by groups of examples that fit into the cache, with its weights "
    "kept or computed anew: 43 to 54 ms a layer against 41.",
    "Microbatching by 8 inside the step: half the peak memory for 20 % more time.",
)
CONVOLUTIONS = (
    "Kept: 3x3 kernels at a stride of 1 by Winograd's F(2x2, 3x3), at first all three "
    "products (Lavin and Gray, 2016). Forward and backward at 64x32x32x64, "
    "64x16x16x128 and 64x8x8x256: 160 to 105, 88 to 64, 77 to 58-63 ms; torch 67, 63, "
    "59. A ResNet-18 step: 1.65 to 1.23 s. Maps of 4x4 keep XLA's convolution, 24 ms "
    "forward against 33.",
    "Kept: other kernel gradients, and those of fewer than 128 channels, as rows of "
    "shifted inputs times the cotangent, of as many images as have 1.5 MB of them. "
    "XLA's own takes two to three times as long. At 400x14x14x64 53 ms, Winograd's "
    "sixteen products of a part 107, of one stack 77; at 64x28x28x32 12 and 29.",
    "Small gain: Winograd's results in parts of 8 MB of tiles, 24 ms against 30; of "
    "other sizes 25 to 45.",
    "Kept: 1x1 kernels as products whose kernel gradient is summed over parts of a "
    "batch; kernels of one channel each as sums of shifted images.",
    "Lost: taps and one product forward, 148 against 94-108 ms forward and backward at "
    "64x32x32x64; bfloat16 operands.",
    "Lost: barriers that keep a batch norm from being computed anew for each shift of "
    "an EfficientNet's kernel gradients: 0.71 to 1.02 s a step. Per-shift sums, "
    "products with ones and groups of images take what JAX's own derivative takes.",
    "Two host devices with the batch sharded: 1.25 times as fast for a full ResNet "
    "step before Winograd; not used in this row.",
)
CONV_META_OURS = (
    "Kept: Conv4's convolutions, and both of their gradients, as one primitive of "
    "gathered rows and one product each, closed under differentiation (`nn.taps`). A "
    "second-order step of 16 tasks, 64 filters, stride, on two host devices: 625 to "
    "470 ms against rows whose gathering JAX transposes; nine products 1,500.",
    "Kept: the image's gradient at a stride of 2 as four products, one a remainder of "
    "row and column: 3.4 ms against 11.1 for the transposed gathering and 4.5 for "
    "XLA's convolutions at 75x14x14x64. Kernel gradients with the wider matrix last: "
    "109 against 68 GFLOP/s a core, 58 against 16 in the first layer.",
    "Kept: a rule for batch statistics, 430 to 390 ms, temporaries 41 to 38 MB; each "
    "inner step computed anew in the backward pass, 391 to 378 and 31 MB.",
    "Kept: zeros put around by concatenation, since a pad is computed anew for every "
    "tap with all that led to it, and a max over tiles whose derivatives pick: a "
    "pooled step of 4 tasks on one core 1,170 to 825 ms.",
    "Kept, without gain: devices that meet once a step rather than once a task.",
    "No gain: barriers, which are gone before XLA fuses; gathering by `take`, 1.5 "
    "times as long, or by space to depth; inner steps unrolled, 430 against 390 ms and "
    "twice the compile seconds; keeping the products' results of a step that is "
    "computed anew.",
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
META = (
    "Peers: torch.func's `vmap` over tasks spends most of a sinusoid's step on its "
    "own bookkeeping, 3.1 to 3.8 ms; tasks written out as an axis take 1.5, and what "
    "torch.compile makes of torch.func 0.52, after 15 s of compiling.",
)
CONV_META = (
    *CONV_META_OURS,
    "Peers, 64 filters, 16 tasks, stride: 16 tasks batched into grouped convolutions "
    "722 ms, under `vmap` 779, patches and batched products 1,431, one after another "
    "1,190; two threads of 8 tasks each 566. Memory that is kept helps the batched.",
    "Peers: torch 2.13's `batch_norm` with a scale and a bias has wrong second "
    "derivatives under `vmap` over them; torch.func's side has them outside of it.",
)
