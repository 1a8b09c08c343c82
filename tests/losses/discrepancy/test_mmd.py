"""Mean discrepancies against loops over pairs, and their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from two_sets import WEIGHTS, by_pairs, drawn, in_a_ring, kernel_of

from tl_jax.losses.discrepancy import DAN, JAN, MIXTURE, Gaussians, jmmd, mk_mmd, mmd

KERNELS = {
    "median": MIXTURE,
    "mean": DAN,
    "number": Gaussians((1.0,), 3.0),
    "apart": Gaussians((3.0, 0.5, 1.0), "median"),
    "many": Gaussians(tuple(2.0**n for n in range(-8, 9)), "mean"),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("name", KERNELS)
def test_mmd_is_that_of_loops(name, unbiased, weighted):
    source, target = drawn()
    first, second = WEIGHTS if weighted else (np.ones(6), np.ones(5))
    pooled, both = np.concatenate([source, target]), np.concatenate([first, second])
    k = kernel_of(KERNELS[name], pooled, both)
    wanted = by_pairs(k, source, target, first, second, unbiased)
    given = (first, second) if weighted else ()
    how = dict(kernel=KERNELS[name], unbiased=unbiased)
    found = mmd(source, target, *given, **how)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["median", "mean"])
def test_the_linear_form_is_that_of_a_loop(name):
    source, target = drawn((5, 5))
    kernel = KERNELS[name]
    k = kernel_of(kernel, np.concatenate([source, target]), np.ones(10))
    found = mk_mmd(source, target, kernel=kernel, linear=True)
    np.testing.assert_allclose(found, in_a_ring(k, source, target), rtol=1e-5)


def test_the_linear_form_leaves_out_what_has_no_weight():
    """Wherever it stands, and what one side has more than the other."""
    source, target = drawn((6, 6))
    first, second = np.array([1, 0, 1, 1, 0, 1]), np.array([0, 1, 1, 1, 1, 1])
    kernel = Gaussians((0.5, 1.0), 4.0)
    found = mk_mmd(source, target, first, second, kernel=kernel, linear=True)
    k = kernel_of(kernel, source, first)
    wanted = in_a_ring(k, source[[0, 2, 3, 5]], target[1:5])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("unbiased", [False, True])
def test_joint_kernels_are_products(linear, unbiased):
    one, two = drawn((5, 5)), drawn((5, 5), 3, 1)
    ks = [
        kernel_of(kernel, np.concatenate(layer), np.ones(10))
        for kernel, layer in zip(JAN, (one, two), strict=True)
    ]
    both = zip(one, two, strict=True)
    source, target = (list(zip(a, b, strict=True)) for a, b in both)

    def k(x, y):
        return ks[0](x[0], y[0]) * ks[1](x[1], y[1])

    if linear:
        wanted = in_a_ring(k, source, target)
    else:
        wanted = by_pairs(k, source, target, np.ones(5), np.ones(5), unbiased)
    layers = zip(one, two, strict=True)
    found = jmmd(*layers, unbiased=unbiased, linear=linear)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_one_layer_is_mmd():
    source, target = drawn()
    joint = jmmd([source], [target], *WEIGHTS, kernels=[DAN])
    np.testing.assert_allclose(joint, mk_mmd(source, target, *WEIGHTS), rtol=1e-6)


def test_biased_it_is_zero_of_equal_sets_and_positive_of_others():
    source, target = drawn()
    shuffled = source[::-1]
    assert abs(mmd(source, shuffled, unbiased=False)) < 1e-6
    assert mmd(source, target, unbiased=False) > 0.05


def test_unbiased_it_is_zero_on_average():
    """Over many pairs of sets of one distribution; biased, it is not."""
    x = jax.random.normal(jax.random.key(0), (400, 2, 6, 3))
    kernel = Gaussians((1.0,), 3.0)

    def each(unbiased):
        values = jax.vmap(lambda pair: mmd(*pair, kernel=kernel, unbiased=unbiased))(x)
        return values.mean(), values.std() / 20

    mean, error = each(True)
    assert abs(mean) < 3 * error
    mean, error = each(False)
    assert mean > 20 * error


def test_far_from_zero_nothing_cancels():
    source, target = drawn()
    near = mmd(source, target)
    np.testing.assert_allclose(mmd(source + 100, target + 100), near, rtol=1e-4)


@pytest.mark.parametrize("width", ["median", "mean"])
def test_widths_have_no_gradient(width):
    source, target = drawn()
    pooled = np.concatenate([source, target])
    squares = np.square(pooled[:, None] - pooled).sum(-1)
    pairs = squares[np.triu_indices(11, 1)]
    number = float(np.median(pairs) if width == "median" else squares.mean())

    def slope(width):
        kernel = Gaussians((0.5, 1.0), width)
        return jax.grad(lambda s: mmd(s, target, kernel=kernel))(source)

    np.testing.assert_allclose(slope(width), slope(number), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_slopes_are_those_of_differences(order):
    """Of both orders, through the rule of the symmetric product, in float64."""
    kernel = Gaussians((0.5, 1.0, 2.0), 3.0)
    with jax.enable_x64(True):
        source, target = (jnp.asarray(x, jnp.float64) for x in drawn((4, 3), 3))
        along = jnp.asarray(np.random.default_rng(5).normal(size=source.shape))

        def value(t):
            return mmd(source + t * along, target, kernel=kernel)

        f = value if order == 1 else jax.grad(value)
        wanted = (f(1e-5) - f(-1e-5)) / 2e-5
        np.testing.assert_allclose(jax.grad(f)(0.0), wanted, rtol=1e-6)


def test_points_that_agree_have_no_slope():
    same = np.ones((3, 4), "f")
    value, slope = jax.value_and_grad(mmd)(same, same)
    assert abs(value) < 1e-6
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("unbiased, fewest", [(True, 2), (False, 1)])
def test_too_few_rows_say_nothing(unbiased, fewest):
    source, target = drawn()
    for rows in (0, 1, 2):
        weight = (np.arange(6) < rows).astype("f")

        def value(s, weight=weight):
            return mmd(s, target, weight, unbiased=unbiased)

        found, slope = jax.value_and_grad(value)(source)
        assert (found == 0) == (rows < fewest)
        assert np.isfinite(slope).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(kernel=Gaussians(())), "mmd: scales are .*positive"),
        (dict(kernel=Gaussians((1.0, -1.0))), "mmd: scales are .*positive"),
        (dict(kernel=Gaussians(width="medain")), 'medain.*expected "median" or "mean"'),
        (dict(kernel=Gaussians(width=0.0)), "mmd: width is 0.0, expected a positive"),
    ],
)
def test_kernels_that_are_none(change, message):
    with pytest.raises(ValueError, match=message):
        mmd(*drawn(), **change)


def test_sides_that_do_not_fit():
    source, target = drawn()
    with pytest.raises(ValueError, match="mmd: source has 4 features, target 3"):
        mmd(source, target[:, :3])
    with pytest.raises(ValueError, match="mmd: target has 1 rows, expected at least"):
        mmd(source, target[:1])
    with pytest.raises(ValueError, match="source has 6 rows, target 5; .*linear=False"):
        mk_mmd(source, target, linear=True)
    with pytest.raises(ValueError, match="2 layers of source, 1 of target, 2 kernels"):
        jmmd([source, source], [target])
    with pytest.raises(ValueError, match=r"layers of source have \[5, 6\] rows"):
        jmmd([source, target], [target, target])
