"""Self-ensemble: the mean of what the network predicts for a photo and its mirror images.

A network is not quite the same in the mirror. The mean of its predictions, each mirrored back, is
closer to the truth than one of them, for as many times the work: Timofte et al., Seven ways to
improve example-based single image super resolution, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable

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
    if isinstance(count, bool) or count not in ENSEMBLES:
        raise InputError(f"ensemble={count!r} is not possible; give 1, 2 or 4.")
    return int(count)


def mirrored_vectors(vectors: Tensor, axes: Axes) -> Tensor:
    """Vectors (B, 2, H, W), x and y, in the mirror: places and directions."""
    return vectors.flip(axes) * _signs(vectors, axes)


def mirrored(encoding: Encoding, axes: Axes) -> Encoding:
    """An encoding in the mirror."""
    if not axes:
        return encoding
    across, down = _signs(encoding.line, axes)
    line = encoding.line.flip(axes)
    odd = encoding.odd.flip(axes)
    return Encoding(
        middle=encoding.middle.flip(axes),
        # The double of an angle: once mirrored it is negated, twice it is the same.
        line=line.new_tensor([1.0, float(across * down)])[:, None, None] * line,
        curve=mirrored_vectors(encoding.curve, axes),
        even=encoding.even.flip(axes),
        odd=odd * _signs(odd, axes).repeat_interleave(3, 0),  # per unit across, per unit down
        swept=encoding.swept.flip(axes),
        moving=encoding.moving.flip(axes),
    )


def average(
    count: int,
    encode: Callable[[Tensor, Tensor | None, Axes], Encoding],
    photo: Tensor,
    guidance: Tensor | None,
) -> Encoding:
    """The mean encoding.

    Args:
        count: of predictions, one of `ENSEMBLES`.
        encode: encodes a mirrored photo with mirrored guidance, along those axes.
        photo: (1, 3, H, W) sRGB.
        guidance: (1, 2, H, W) in {-1, 0, 1}, or None.
    """
    total: Encoding | None = None
    for axes in ENSEMBLES[count]:
        said = None if guidance is None else mirrored_vectors(guidance, axes)
        found = mirrored(encode(photo.flip(axes), said, axes), axes)
        total = (
            found
            if total is None
            else Encoding(*(a + b for a, b in zip(total, found, strict=True)))
        )
    assert total is not None
    return total if count == 1 else Encoding(*(part / count for part in total))


def _signs(vectors: Tensor, axes: Axes) -> Tensor:
    return vectors.new_tensor([-1.0 if axis in axes else 1.0 for axis in (3, 2)])[:, None, None]
