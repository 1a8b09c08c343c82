"""Fourier transfer, translated sources, losses and the pool against TLlib's."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pictures import batch, classifier, maker, other_padding, player

from tl_jax.algorithms.adaptation import adapted
from tl_jax.algorithms.adaptation.fourier import fourier, low_amplitudes, reach_of
from tl_jax.algorithms.adaptation.pool import empty_pool, exchanged
from tl_jax.algorithms.adaptation.translated import translated
from tl_jax.losses import cross_entropy
from tl_jax.losses.translation import difference, least_squares
from tl_jax.tree import NoMatch

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def recorded(golden):
    with np.load(golden / "translation.npz") as file:
        return dict(file)


def loss(outputs, stream):
    return cross_entropy(outputs.logits, stream["labels"])


def by_loop(source, target, beta):
    """One channel, frequency by frequency."""
    own, other = np.fft.fft2(source), np.fft.fft2(target)
    tall, broad = source.shape
    for i in range(tall):
        for j in range(broad):
            if min(i, tall - i) <= beta and min(j, broad - j) <= beta:
                own[i, j] = abs(other[i, j]) * np.exp(1j * np.angle(own[i, j]))
    return np.fft.ifft2(own).real.clip(0, 255)


@pytest.mark.parametrize(("tall", "broad"), [(8, 6), (7, 9)])
@pytest.mark.parametrize("beta", [0, 1, 2])
def test_low_amplitudes_by_loop_and_tllib(recorded, tall, broad, beta):
    name = f"fourier/{tall}x{broad}"
    source, target = (recorded[f"{name}/{side}"] for side in ("source", "target"))
    given = (jnp.asarray(side.transpose(1, 2, 0)[None]) for side in (source, target))
    made = low_amplitudes(*given, beta)[0]
    np.testing.assert_allclose(
        made, recorded[f"{name}/{beta}"].transpose(1, 2, 0), atol=2e-3
    )
    for c in range(3):
        wanted = by_loop(source[c], target[c], beta)
        np.testing.assert_allclose(made[..., c], wanted, atol=2e-3)


def test_equal_pictures_stay_and_a_black_one_takes_the_light():
    image = batch()["source"]["inputs"]["image"]
    np.testing.assert_allclose(low_amplitudes(image, image, 2), image, atol=2e-3)
    black, grey = jnp.zeros((1, 8, 8, 1)), jnp.full((1, 8, 8, 1), 40.0)
    np.testing.assert_allclose(low_amplitudes(black, grey, 1), grey, atol=1e-3)


def test_shares_and_mistakes_of_beta():
    """The paper's b = floor(beta min(H, W)), of which 0.05 of 28 pixels is 1."""
    assert [reach_of(b, 28) for b in (0, 0.01, 0.05, 0.09, 1, 3)] == [0, 0, 1, 2, 1, 3]
    for beta in (-1, 1.5, 14, 0.6):
        with pytest.raises(ValueError, match=f"beta={beta}, expected a whole number"):
            reach_of(beta, 28)
    with pytest.raises(ValueError, match="expected one shape"):
        low_amplitudes(jnp.zeros((1, 8, 8, 1)), jnp.zeros((2, 8, 8, 1)))


def stepped(term, players=None, given=None):
    players = players or {"model": player(classifier(), optax.sgd(0.1), 7)}
    built = adapted(players, loss, {"term": term}, steps=4, joint=False)
    state, frozen = built.init(KEY, players)
    return state, *jax.jit(built.step)(state, frozen, given or batch(padding=1), KEY)


def test_a_model_learns_from_sources_in_the_target_s_light():
    """Partners are real rows of the target, and only these."""
    given = batch(padding=1)
    key, seen = jax.random.key(8), []

    class Before:
        pass

    Before.key = key
    made = fourier(0).prepare(Before, given)
    image = made["source"]["inputs"]["image"]
    light = np.asarray(given["target"]["inputs"]["image"], np.float32).mean((1, 2, 3))
    for row in np.asarray(image):
        seen.append(np.abs(light - row.mean()).argmin())
    np.testing.assert_allclose(image.mean((1, 2, 3)), light[seen], rtol=0.05)
    assert 4 not in seen
    assert made["target"] is given["target"]
    np.testing.assert_array_equal(made["source"]["labels"], given["source"]["labels"])
    _, one, _ = stepped(fourier(1))
    _, other, _ = stepped(fourier(1), given=other_padding(given))
    chex.assert_trees_all_close(one.train, other.train, atol=0.05)


def test_a_model_learns_from_translations():
    """The loss is that of the generator's pictures; the generator stays."""
    players = {
        "model": player(classifier(), optax.sgd(0.1), 7),
        "to_target": player(maker(), seed=1, frozen=True),
    }
    given = batch()
    before, after, metrics = stepped(translated(), players, given)
    plan = players["to_target"].plan
    image = given["source"]["inputs"]
    made = jax.jit(maker().apply)(plan.params, {}, image)[0].hidden[-1]
    model, plan = players["model"].model, players["model"].plan
    apply = jax.jit(model.apply, static_argnames="norm")
    outputs, _ = apply(plan.params, plan.stats, {"image": made}, norm="batch")
    wanted = loss(outputs, given["source"]).mean()
    np.testing.assert_allclose(metrics["supervised"], wanted, rtol=1e-5)
    assert not jax.tree.leaves(after.train["to_target"])
    far = jax.tree.map(
        lambda a, b: jnp.abs(a - b).max(), after.train["model"], before.train["model"]
    )
    assert max(jax.tree.leaves(far)) > 0


def test_a_generator_that_moves_or_lacks_is_named():
    players = {"model": player(classifier()), "to_target": player(maker())}
    with pytest.raises(ValueError, match="'to_target' translates and has to stay"):
        stepped(translated(), players)
    with pytest.raises(NoMatch, match="to_targt"):
        stepped(translated("to_targt"), players)


def test_losses_are_tllib_s_and_the_loop_s(recorded):
    patches, each = recorded["patches"], []
    for row in patches.astype(np.float64):
        each.append([np.mean([(p - real) ** 2 for p in row]) for real in (1, 0)])
    real, fake = least_squares(patches, True), least_squares(patches, False)
    np.testing.assert_allclose(np.stack([real, fake], 1), each, rtol=1e-5)
    np.testing.assert_allclose(real.mean(), recorded["real"], rtol=1e-5)
    np.testing.assert_allclose(fake.mean(), recorded["fake"], rtol=1e-5)
    own = cross_entropy(jnp.asarray(recorded["logits"]), recorded["known"]).mean()
    np.testing.assert_allclose(own, recorded["semantic"], rtol=1e-5)
    one, other = (batch(i)["source"]["inputs"]["image"] for i in range(2))
    wanted = [
        np.abs(a.astype(float) - b.astype(float)).mean() / 127.5
        for a, b in zip(np.asarray(one), np.asarray(other), strict=True)
    ]
    np.testing.assert_allclose(difference(one, other), wanted, rtol=1e-5)


def test_the_pool_returns_what_tllib_s_returns(recorded):
    pool = empty_pool(len(recorded["pool/kept"]), recorded["pool/images"].shape[2:])
    draws = zip(
        *(recorded[f"pool/{name}"] for name in ("images", "coins", "places", "shown")),
        strict=True,
    )
    for images, coins, places, shown in draws:
        ones = jnp.ones(len(images))
        pool, found = exchanged(pool, images, ones, coins, jnp.asarray(places))
        np.testing.assert_array_equal(found, shown)
    np.testing.assert_array_equal(pool.images, recorded["pool/kept"])


@pytest.mark.parity
def test_what_is_recorded_is_what_tllib_does(recorded):
    pytest.importorskip("torch", reason="needs torch")
    from record_translation import reference

    try:
        live = reference()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    assert live.keys() == recorded.keys()
    for name, value in live.items():
        np.testing.assert_allclose(value, recorded[name], atol=1e-6, err_msg=name)
