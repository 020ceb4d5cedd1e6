"""Self-ensemble: the mean of what the network predicts for a photo and its mirror images.

A network is not quite the same in the mirror. The mean of its predictions, each mirrored back, is
closer to the truth than one of them, for as many times the work: Timofte et al., Seven ways to
improve example-based single image super resolution, CVPR 2016.
"""

from __future__ import annotations

from torch import Tensor

from b2m.errors import InputError
from b2m.models.animator import Encoding

Axes = tuple[int, ...]
"""Dimensions of a batch along which it is mirrored: 2 is upside down, 3 is left to right."""

ENSEMBLES: dict[int, tuple[Axes, ...]] = {
    1: ((),),
    2: ((), (3,)),
    4: ((), (3,), (2,), (2, 3)),
}
"""How a photo is mirrored, by the number of predictions."""


def check_ensemble(count: int) -> int:
    """The number of predictions, if it is possible.

    Raises:
        InputError: it is not.
    """
    if isinstance(count, bool) or count not in tuple(ENSEMBLES):
        raise InputError(f"ensemble={count!r} is not possible; give 1, 2 or 4.")
    return int(count)


def mirrored_vectors(vectors: Tensor, axes: Axes) -> Tensor:
    """Vectors (B, 2, H, W), x to the right and y down, in the mirror: places and directions."""
    return vectors.flip(axes) * _signs(vectors, axes)


def mirrored(encoding: Encoding, axes: Axes) -> Encoding:
    """An encoding in the mirror: that of the mirrored photo, of which all maps have the size."""
    if not axes:
        return encoding
    across, down = _signs(encoding.axis, axes)
    axis = encoding.axis.flip(axes)
    odd = encoding.odd.flip(axes)
    return Encoding(
        middle=encoding.middle.flip(axes),
        # The double of an angle: once mirrored it is negated, twice it is the same.
        axis=axis.new_tensor([1.0, float(across * down)])[:, None, None] * axis,
        curve=mirrored_vectors(encoding.curve, axes),
        even=encoding.even.flip(axes),
        odd=odd * _signs(odd, axes).repeat_interleave(3, 0),  # per unit across, per unit down
        swept_logits=encoding.swept_logits.flip(axes),
        moving_logits=encoding.moving_logits.flip(axes),
    )


def _signs(vectors: Tensor, axes: Axes) -> Tensor:
    return vectors.new_tensor([-1.0 if axis in axes else 1.0 for axis in (3, 2)])[:, None, None]
