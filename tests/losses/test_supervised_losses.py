import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import losses

B, T, C = 4, 5, 3


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(high, *shape, seed=1):
    return np.random.default_rng(seed).integers(high, size=shape)


def log_p(row):
    return [x - np.log(sum(np.exp(row))) for x in row]


def loop_cross_entropy(logits, labels, smoothing=0.0):
    out = []
    for row, y in zip(logits, labels, strict=True):
        lp = log_p(row)
        out.append(-(1 - smoothing) * lp[y] - smoothing * sum(lp) / len(lp))
    return np.array(out)


def loop_soft(logits, shares, smoothing=0.0):
    out = []
    for row, ys in zip(logits, shares, strict=True):
        lp = log_p(row)
        hard = sum(y * q for y, q in zip(ys, lp, strict=True))
        out.append(-(1 - smoothing) * hard - smoothing * sum(lp) / len(lp))
    return np.array(out)


def loop_binary(logits, labels):
    out = []
    for row, ys in zip(logits, labels, strict=True):
        p = 1 / (1 + np.exp(-row))
        out.append(
            np.mean([-np.log(q if y else 1 - q) for q, y in zip(p, ys, strict=True)])
        )
    return np.array(out)


def loop_tokens(logits, labels):
    out = []
    for rows, ys in zip(logits, labels, strict=True):
        known = [-log_p(r)[y] for r, y in zip(rows, ys, strict=True) if y != -100]
        out.append(sum(known) / max(len(known), 1))
    return np.array(out)


def loop_spans(logits, spans, mask):
    out = []
    for rows, span, seen in zip(logits, spans, mask, strict=True):
        length = seen.sum()
        ends = [-log_p(rows[:length, side])[span[side]] for side in (0, 1)]
        out.append(sum(ends) / 2)
    return np.array(out)


TOKEN_LABELS = np.array(
    [[0, 1, -100, 2, 0], [-100] * 5, [1, 1, 1, 1, 1], [-100, 2, 0, -100, -100]]
)
SHARES = np.array([[0.2, 0.3, 0.5], [1, 0, 0], [0, 0.25, 0.75], [0.5, 0.5, 0]])
MASK = np.arange(T) < np.array([[5], [3], [4], [2]])
SPANS = np.array([[0, 4], [1, 2], [0, 0], [1, 1]])
CASES = {
    "cross_entropy": (
        losses.cross_entropy,
        draw(B, C),
        (ints(C, B),),
        loop_cross_entropy,
    ),
    "smoothed": (
        lambda x, y: losses.cross_entropy(x, y, smoothing=0.2),
        draw(B, C),
        (ints(C, B),),
        lambda x, y: loop_cross_entropy(x, y, 0.2),
    ),
    "soft": (
        losses.cross_entropy,
        draw(B, C),
        (SHARES.astype(np.float32),),
        loop_soft,
    ),
    "soft smoothed": (
        lambda x, y: losses.cross_entropy(x, y, smoothing=0.2),
        draw(B, C),
        (SHARES.astype(np.float32),),
        lambda x, y: loop_soft(x, y, 0.2),
    ),
    "squared": (
        losses.squared_error,
        draw(B),
        (draw(B, seed=2),),
        lambda p, t: np.array([(a - b) ** 2 for a, b in zip(p, t, strict=True)]),
    ),
    "binary": (losses.binary_cross_entropy, draw(B, C), (ints(2, B, C),), loop_binary),
    "tokens": (
        losses.token_cross_entropy,
        draw(B, T, C),
        (TOKEN_LABELS,),
        loop_tokens,
    ),
    "spans": (losses.span_cross_entropy, draw(B, T, 2), (SPANS, MASK), loop_spans),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_equals_a_loop_eager_and_compiled(case):
    loss, x, rest, loop = case
    want = loop(x.astype(np.float64), *rest)
    np.testing.assert_allclose(loss(x, *rest), want, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(jax.jit(loss)(x, *rest), loss(x, *rest), rtol=1e-6)


def test_vmap_over_tasks(case):
    loss, x, rest, _ = case
    many = jax.vmap(loss)(*[np.stack([a, a[::-1]]) for a in (x, *rest)])
    np.testing.assert_allclose(many[1][::-1], loss(x, *rest), rtol=1e-6)


def test_is_float32_also_of_bfloat16(case):
    loss, x, rest, _ = case
    half = jnp.asarray(x, jnp.bfloat16)
    out = loss(half, *rest)
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, loss(jnp.asarray(half, jnp.float32), *rest))


def test_first_and_second_derivatives_by_finite_differences(case):
    loss, x, rest, loop = case
    x64, v = x.astype(np.float64), draw(*x.shape, seed=3).astype(np.float64)

    def line(t):
        return loop(x64 + t * v, *rest).sum()

    @jax.jit
    def derivatives(t):
        def f(t):
            return loss(x + t * v.astype(np.float32), *rest).sum()

        first = jax.grad(f)
        return first(t), jax.grad(first)(t), jax.jvp(first, (t,), (1.0,))[1]

    h = 1e-3
    first = (line(h) - line(-h)) / (2 * h)
    second = (line(h) - 2 * line(0.0) + line(-h)) / h**2
    want = (first, second, second)
    np.testing.assert_allclose(derivatives(0.0), want, rtol=1e-4, atol=1e-4)


def test_gradient_of_the_softmax_sums_to_zero():
    grad = jax.grad(lambda x: losses.cross_entropy(x, ints(C, B)).sum())(draw(B, C))
    np.testing.assert_allclose(grad.sum(-1), 0.0, atol=1e-6)


def test_smoothing_mixes_the_label_with_all_classes():
    x, y = draw(B, C), ints(C, B)
    every = np.mean([losses.cross_entropy(x, np.full(B, c)) for c in range(C)], 0)
    want = 0.7 * losses.cross_entropy(x, y) + 0.3 * every
    got = losses.cross_entropy(x, y, smoothing=0.3)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_weighting_by_labelled_gives_the_mean_over_all_tokens():
    x = draw(B, T, C)
    count = losses.labelled(TOKEN_LABELS)
    np.testing.assert_array_equal(count, [4, 0, 5, 2])
    mean = (count * losses.token_cross_entropy(x, TOKEN_LABELS)).sum() / count.sum()
    pooled = [
        -log_p(x[b, t])[TOKEN_LABELS[b, t]]
        for b in range(B)
        for t in range(T)
        if TOKEN_LABELS[b, t] != -100
    ]
    np.testing.assert_allclose(mean, np.mean(pooled), rtol=1e-6)


def test_padding_has_no_gradient_and_no_say():
    x = draw(B, T, 2)
    grad = jax.grad(lambda x: losses.span_cross_entropy(x, SPANS, MASK).sum())(x)
    assert not np.asarray(grad)[~MASK].any()
    other = np.where(MASK[..., None], x, 50.0)
    np.testing.assert_array_equal(
        losses.span_cross_entropy(other, SPANS, MASK),
        losses.span_cross_entropy(x, SPANS, MASK),
    )


@pytest.mark.parametrize("label", [-1, C])
def test_a_label_that_names_no_class_is_nan_in_its_row_only(label):
    y = np.array([0, label, 1, 2])
    for smoothing in (0.0, 0.1):
        out = losses.cross_entropy(draw(B, C), y, smoothing=smoothing)
        np.testing.assert_array_equal(np.isnan(out), [False, True, False, False])


@pytest.mark.parametrize("shares", [(0.0, 0.0, 0.0), (1.5, -0.5, 0.0), (1, 1, 0)])
def test_shares_that_are_none_are_nan_in_their_row_only(shares):
    y = SHARES.astype(np.float32).copy()
    y[1] = shares
    out, grad = jax.vmap(
        jax.value_and_grad(lambda x, y: losses.cross_entropy(x[None], y[None])[0])
    )(draw(B, C), y)
    np.testing.assert_array_equal(np.isnan(out), [False, True, False, False])
    assert np.isfinite(np.asarray(grad)[[0, 2, 3]]).all()


def test_shares_of_one_class_are_its_label():
    x, y = draw(B, C), ints(C, B)
    for smoothing in (0.0, 0.1):
        soft = losses.cross_entropy(x, jax.nn.one_hot(y, C), smoothing=smoothing)
        hard = losses.cross_entropy(x, y, smoothing=smoothing)
        np.testing.assert_allclose(soft, hard, rtol=1e-6)


def test_a_span_that_was_cut_off_counts_zero_and_one_in_the_padding_is_nan():
    spans = np.array([[T, T], [0, T], [0, 4], [0, 1]])
    x = draw(B, T, 2)
    out = np.asarray(losses.span_cross_entropy(x, spans, MASK))
    assert out[0] == 0
    np.testing.assert_allclose(out[1], -log_p(x[1, :3, 0])[0] / 2, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(out), [False, False, True, False])


def test_extreme_logits_stay_finite():
    x = np.array([[1e4, -1e4, 0.0]], np.float32)
    for loss, y in (
        (losses.cross_entropy, np.array([1])),
        (losses.binary_cross_entropy, np.array([[0, 1, 1]])),
    ):
        value, grad = jax.value_and_grad(lambda x: loss(x, y).sum())(x)  # noqa: B023
        assert np.isfinite(value)
        assert np.isfinite(grad).all()


def test_a_column_of_predictions_is_a_vector():
    p, t = draw(B, 1), draw(B, seed=2)
    np.testing.assert_array_equal(
        losses.squared_error(p, t), losses.squared_error(p[:, 0], t)
    )


def test_shapes_that_do_not_fit_raise():
    for call in (
        lambda: losses.cross_entropy(draw(B, C), ints(C, B + 1)),
        lambda: losses.cross_entropy(draw(B, T, C), ints(C, B)),
        lambda: losses.cross_entropy(draw(B, C), SHARES[:, :2]),
        lambda: losses.cross_entropy(draw(B, C), ints(2, B, C)),
        lambda: losses.squared_error(draw(B, 2), draw(B)),
        lambda: losses.squared_error(draw(B), draw(B, 1)),
        lambda: losses.binary_cross_entropy(draw(B, C), ints(2, B)),
        lambda: losses.token_cross_entropy(draw(B, T, C), ints(C, B, T + 1)),
        lambda: losses.span_cross_entropy(draw(B, T, 3), SPANS, MASK),
    ):
        with pytest.raises(AssertionError):
            call()
    with pytest.raises(ValueError, match="smoothing"):
        losses.cross_entropy(draw(B, C), ints(C, B), smoothing=1.5)


def test_next_tokens_by_a_loop():
    """Each labelled token under the logits of the place in front of it."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(3, 5, 7)).astype(np.float32)
    labels = rng.integers(0, 7, (3, 5))
    labels[0, :3] = labels[1, 2] = labels[2, 1:] = -100
    got = losses.next_token_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    for row in range(3):
        found = []
        for at in range(1, 5):
            if labels[row, at] != -100:
                own = logits[row, at - 1].astype(np.float64)
                found.append(np.log(np.exp(own).sum()) - own[labels[row, at]])
        want = np.mean(found) if found else 0.0  # the third row has its first alone
        np.testing.assert_allclose(got[row], want, rtol=1e-5)
