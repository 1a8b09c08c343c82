"""Baseline and Baseline++: a last layer fine-tuned on the support set alone."""

from collections.abc import Mapping
from typing import Any

from tl_jax.algorithms.meta.classes import check_ways, masked, memberships, there
from tl_jax.algorithms.meta.heads import Head, of_player, on_model
from tl_jax.algorithms.meta.inner import Inner, adapt
from tl_jax.algorithms.meta.learner import Learner, Loss, Norm, mean_loss
from tl_jax.types import Array, Key, Model, Outputs, Params, Stream


def baseline(
    model: Model,
    ways: int,
    readout: Model,
    loss: Loss,
    inner: Inner,
    *,
    norm: Norm = "running",
    name: str = "model",
    readout_name: str = "readout",
) -> Learner:
    """Inner steps of a readout on features that a task keeps (Chen et al., 2019).

    `models.readout` of kind "linear" is Baseline, "cosine" Baseline++. It is a player
    of its own, `readout_name`, from whose parameters each task starts; `inner` holds
    its rates. The authors take 100 steps of SGD on batches of 4; here a step sees the
    whole support set. `loss(outputs, stream) -> [B]` is the support set's. A class
    without a support row gets -1e9, in the loss too. Gradients flow through all steps
    where a plan lets something move. `norm`: whose statistics batch norm uses. Raises
    `NoMatch` for an unknown norm and a missing player, ValueError for fewer than two
    ways.
    """
    check_ways(ways)

    def score(params: Params, outputs: Outputs, present: Array, key: Key | None = None):
        inputs = {"features": outputs.features}
        logits = readout.apply(params, {}, inputs, key=key)[0].logits
        return masked(logits, present)

    def fit(params_of: Mapping[str, Params], outputs: Outputs, support: Stream) -> Any:
        member = memberships(support, ways)
        present, shows = there(member), 0 * member.sum()  # NaN for a label of no class
        of_player(params_of, readout_name)

        def value(params: Params, i: Array, key: Key | None) -> Array:
            own = outputs._replace(logits=score(params, outputs, present, key))
            return mean_loss(own, support, loss)

        return adapt(value, params_of, readout_name, inner)[0], present, shows

    def scored(fitted: Any, outputs: Outputs) -> Array:
        params, present, shows = fitted
        return score(params, outputs, present) + shows

    return on_model(model, Head(fit, scored), norm=norm, name=name)
