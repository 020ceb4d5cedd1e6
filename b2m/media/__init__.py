"""Images and videos in and out, whole files or none."""

from b2m.media.image import (
    MAX_PIXELS,
    MIN_SIDE,
    ImageLike,
    Photo,
    Pixels,
    limit_side,
    limited_size,
    open_image,
    read_image,
    write_png,
)

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "ImageLike",
    "Photo",
    "Pixels",
    "limit_side",
    "limited_size",
    "open_image",
    "read_image",
    "write_png",
]
