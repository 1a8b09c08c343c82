"""GGUF files: names, turned pairs, quantised blocks, tokenizers, the real SmolLM2."""

import struct

import jax
import numpy as np
import pytest
from agree import TOLERANCE, distance

from tl_jax import pretrained, tree
from tl_jax.nn.rotary import Scaling, speeds
from tl_jax.pretrained import files, gguf_header
from tl_jax.pretrained.gguf_config import config_of
from tl_jax.pretrained.gguf_files import numbers

pytest.importorskip("gguf")
import gguf
import gguf_made as made

SENTENCE = "The capital of France is"


def same_leaves(a, b) -> None:
    assert tree.paths(a) == tree.paths(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", ["llama_words", "llama_tied"])
def test_a_file_is_the_folder_that_it_was_made_of(name, golden, tmp_path):
    folder = golden / "llama" / name
    file = made.llama_file(folder, tmp_path / "model.gguf")
    found, want = pretrained.load(file), pretrained.load(folder)
    same_leaves(found.params, want.params)
    assert found.tokenizer is None
    with np.load(golden / "llama.npz") as values:
        inputs = {n: values[f"{name}/{n}"] for n in ("tokens", "mask")}
        logits = values[f"{name}/logits"]
    out = found.model.apply(found.params, {}, inputs)[0].logits
    real = inputs["mask"].astype(bool)
    assert distance(out[real], logits[real]) <= TOLERANCE


def test_a_saved_file_is_a_folder(golden, tmp_path):
    file = made.llama_file(golden / "llama/llama_tied", tmp_path / "model.gguf")
    found = pretrained.load(file)
    path = pretrained.save(tmp_path / "saved", found)
    again = pretrained.load(path)
    same_leaves(again.params, found.params)
    assert "lm_head.weight" not in files.scan(path)


def test_biases_are_turned_with_their_kernels(golden, tmp_path):
    folder = golden / "llama/llama_scaled"
    file = made.llama_file(folder, tmp_path / "model.gguf")
    found, want = pretrained.load(file), pretrained.load(folder)
    same_leaves(found.params, want.params)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_factors_of_llama_3(factor, golden, tmp_path):
    folder, want = golden / "llama/llama_tied", Scaling("llama3", factor)
    ratio = speeds(6, 5e5) / speeds(6, 5e5, want)
    fields = made.llama_fields(files.read_config(folder))
    fields["llama.rope.freq_base"] = 5e5
    tensors = made.tensors_of(folder, "llama")
    for slower in (ratio, ratio * 1.5):
        tensors["rope_freqs.weight"] = slower.astype(np.float32)
        file = made.write(tmp_path / f"{slower[0]}.gguf", "llama", fields, tensors)
        if slower is ratio:
            assert config_of(file)["rope_parameters"]["factor"] == factor
            same_leaves(pretrained.load(file).params, pretrained.load(folder).params)
        else:
            with pytest.raises(pretrained.Unsupported, match="rope_freqs"):
                pretrained.load(file)


def test_linear_scaling_and_what_is_refused(golden, tmp_path):
    folder = golden / "llama/llama_tied"

    def file(**fields):
        return made.llama_file(folder, tmp_path / "model.gguf", **fields)

    linear = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}
    wanted = {"rope_theta": 500.0, "rope_type": "linear", "factor": 2.0}
    assert config_of(file(**linear))["rope_parameters"] == wanted
    for fields, error, text in (
        ({"llama.rope.scaling.type": "yarn"}, pretrained.Unsupported, "'yarn', known"),
        ({"llama.rope.dimension_count": 4}, pretrained.Unsupported, "count is 4, but"),
        ({"llama.expert_count": 4}, pretrained.Unsupported, "no experts"),
        ({"llama.block_count": ...}, pretrained.Damaged, "no 'llama.block_count'"),
    ):
        with pytest.raises(error, match=text):
            pretrained.load(file(**fields))
    other = made.write(tmp_path / "other.gguf", "mamba", {}, {})
    with pytest.raises(pretrained.Unsupported, match="is 'mamba'; known: llama, gpt2"):
        pretrained.load(other)
    with pytest.raises(ValueError, match="is for a file of weights alone"):
        pretrained.load(file(), architecture="resnet18")


def blocks(raw: bytes, kind: str) -> list[float]:
    """GGML's blocks of 32 undone one number at a time."""
    out = []
    size = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[kind]
    for at in range(0, len(raw), size):
        block = raw[at : at + size]
        scale = float(np.frombuffer(block[:2], np.float16)[0])
        if kind == "Q8_0":
            out += [scale * n for n in struct.unpack("32b", block[2:])]
            continue
        least = -8 * scale
        if kind == "Q4_1":
            least = float(np.frombuffer(block[2:4], np.float16)[0])
        nibbles = block[-16:]
        low, high = ([(b >> shift) & 15 for b in nibbles] for shift in (0, 4))
        out += [scale * n + least for n in low + high]
    return out


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "F16", "BF16", "F32"])
def test_quantised_numbers_by_a_loop(kind, tmp_path):
    array = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    number = gguf.GGMLQuantizationType[kind]
    stored = gguf.quantize(array, number)
    file = made.write(tmp_path / "x.gguf", "llama", {}, {"x": (stored, number)})
    raw, placed = file.read_bytes(), gguf_header.front(file).tensors["x"]
    got = numbers(raw, placed)
    assert got.shape == (3, 64)
    assert got.dtype == np.float32
    own = raw[placed.start : placed.start + placed.size]
    if kind[0] == "Q":
        want = np.asarray(blocks(own, kind), np.float32).reshape(3, 64)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
    far = {"F32": 0, "F16": 1e-3, "BF16": 1e-2, "Q8_0": 2e-2}.get(kind, 0.3)
    assert np.abs(got - array).max() <= far


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda raw: b"GGML" + raw[4:], "begins with b'GGML'"),
        (lambda raw: raw[:4] + struct.pack("<I", 9) + raw[8:], "version is 9"),
        (lambda raw: raw[:-8], "ends beyond the file's"),
        (lambda raw: raw[:200], "lie beyond its end"),
        (lambda raw: raw[:16] + struct.pack("<Q", 2**60) + raw[24:], "is damaged"),
        (lambda raw: b"", "it is empty"),
        (lambda raw: raw.replace(b"output_norm", b"outputXnorm"), r"norm\.weight"),
    ],
)
def test_damaged_files_are_named(change, text, golden, tmp_path):
    file = made.llama_file(golden / "llama/llama_tied", tmp_path / "model.gguf")
    file.write_bytes(change(file.read_bytes()))
    error = pretrained.Misfit if "norm" in text else pretrained.Damaged
    with pytest.raises(error, match=text):
        pretrained.load(file)


def test_its_tokenizer(golden, tmp_path):
    folder = golden / "llama/llama_tied"
    words = made.WORDS + [f"w{i}" for i in range(40 - len(made.WORDS))]
    found = pretrained.load(made.llama_file(folder, tmp_path / "m.gguf", words))
    own = found.tokenizer
    ids = own.encoder.encode("ab ab<s>12c").ids
    assert [words[i] for i in ids] == ["ab", "Ġab", "<s>", "1", "2", "c"]
    assert own.encoder.decode(ids) == "ab ab12c"
    assert (own.eos, own.bos, own.pad, own.length) == (0, 1, 0, 64)
    path = pretrained.save(tmp_path / "saved", found)
    again = pretrained.load(path).tokenizer
    assert again[1:] == own._replace(cls=1)[1:]
    assert again.encoder.encode("ab ab<s>12c").ids == ids
    with pytest.raises(pretrained.Damaged, match="has 39 tokens, expected 40"):
        pretrained.load(made.llama_file(folder, tmp_path / "n.gguf", words[:-1]))


@pytest.fixture(scope="module")
def smollm2():
    try:
        return pretrained.load("smollm2")
    except OSError as error:
        pytest.skip(f"SmolLM2 is not to be had: {error}")


def test_the_capital_of_france(smollm2):
    assert tree.count(smollm2.params) == 134_515_008
    ids = smollm2.tokenizer.encoder.encode(SENTENCE).ids
    assert ids == [504, 3575, 282, 4649, 314]
    apply = jax.jit(lambda p, x: smollm2.model.apply(p, {}, {"tokens": x})[0].logits)
    last = apply(smollm2.params, np.array([ids]))[0, -1]
    assert smollm2.tokenizer.encoder.decode([int(last.argmax())]) == " Paris"


@pytest.mark.parity
def test_smollm2_live(smollm2):
    """Their own reader of GGUF, dequantised: logits, hidden states and tokens."""
    import torch
    import transformers

    place = files.Path(smollm2.source["folder"])
    at = dict(gguf_file=place.name)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        place.parent, dtype=torch.float32, **at
    ).eval()
    cut = transformers.AutoTokenizer.from_pretrained(place.parent, **at)
    texts = [SENTENCE, "In 1984, 27 émigrés:\n\tx = {'a': 1}  # 日本"]
    for text in texts:
        ids = cut(text)["input_ids"]
        assert smollm2.tokenizer.encoder.encode(text).ids == ids
        with torch.no_grad():
            want = theirs(torch.tensor([ids]), output_hidden_states=True)
        out = jax.jit(smollm2.model.apply)(
            smollm2.params, {}, {"tokens": np.array([ids])}
        )[0]
        states = (*out.hidden[:-1], out.tokens)
        pairs = zip(states, want.hidden_states, strict=True)
        far = [distance(a, b.numpy()) for a, b in pairs]
        assert max(far) <= TOLERANCE, far
        assert distance(out.logits, want.logits.numpy()) <= TOLERANCE
