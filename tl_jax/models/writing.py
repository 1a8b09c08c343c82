"""A model that writes wherever its inputs hold no answer."""

from tl_jax.generation import beam_search, greedy
from tl_jax.types import Model


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
    decoder = model.decode
    if decoder is None:
        raise ValueError("writing: the model has no `decode`, expected one that writes")

    def apply(params, stats, inputs, *, key=None, norm="running"):
        outputs, stats = model.apply(params, stats, inputs, key=key, norm=norm)
        if known in inputs:
            return outputs, stats
        how = dict(end=end, pad=pad)
        if beams == 1:
            return outputs._replace(
                written=greedy(decoder, params, inputs, length, **how)
            ), stats
        how |= dict(beams=beams, penalty=penalty)
        best = beam_search(decoder, params, inputs, length, **how).tokens[:, 0]
        return outputs._replace(written=best), stats

    return model._replace(apply=apply)
