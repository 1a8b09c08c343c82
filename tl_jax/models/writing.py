"""A model that writes wherever its inputs hold no answer."""

from collections.abc import Callable

from tl_jax.generation import beam_search, greedy
from tl_jax.types import Array, Model, Params


def writing(
    model: Model,
    length: int,
    *,
    end: int,
    pad: int = 0,
    beams: int = 1,
    penalty: float = 1.0,
    known: str = "decoder_tokens",
) -> Model:
    """The model with `written` [B length] among its outputs, greedy or by beams.

    Inputs that hold `known`, the answer of teacher forcing, pass as they are: so what
    trains is the model itself, and what predicts shows it no answer.

    Raises ValueError for a model that has no way to go on.
    """
    write = writer("writing", model, length, end, pad, beams, penalty)

    def apply(params, stats, inputs, *, key=None, norm="running"):
        outputs, stats = model.apply(params, stats, inputs, key=key, norm=norm)
        if known in inputs:
            return outputs, stats
        return outputs._replace(written=write(params, inputs)), stats

    return model._replace(apply=apply)


def writer(
    name: str, model: Model, length: int, end: int, pad: int, beams: int, penalty: float
) -> Callable[[Params, dict], Array]:
    """(params, inputs) -> tokens [B length]: greedy, or the best of the beams.

    Raises ValueError, by `name`, for a model that has no way to go on.
    """
    decoder = model.decode
    if decoder is None:
        raise ValueError(f"{name}: the model has no `decode`, expected one that writes")
    how = dict(end=end, pad=pad)

    def write(params: Params, inputs: dict) -> Array:
        if beams == 1:
            return greedy(decoder, params, inputs, length, **how)
        more = how | dict(beams=beams, penalty=penalty)
        return beam_search(decoder, params, inputs, length, **more).tokens[:, 0]

    return write
