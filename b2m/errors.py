"""The errors a user can meet: bad input, and output that could not be written.

And what several of their sentences share.
"""

from __future__ import annotations

from numbers import Integral


class InputError(ValueError):
    """Something given to b2m cannot be used; one sentence: what was given, what is allowed."""


class InputWarning(UserWarning):
    """Something given to b2m was changed before it was used; one sentence."""


class ArgumentError(InputError):
    """An argument that is impossible before any work begins; the command line exits with 2."""


class NothingMovesError(InputError):
    """An edit of motion at a place where nothing moves: pages say so as a hint, not as an error."""


class OutputError(OSError):
    """A result could not be written; one sentence: where, why, and what to do about it."""


def shortened(value: object) -> str:
    """A value as a sentence can name it: in one line, and larger arrays by shape and type."""
    if (shape := getattr(value, "shape", None)) and max(shape) > 4:
        return f"an array {tuple(shape)} {getattr(value, 'dtype', '')}".rstrip()
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def check_seed(seed: object) -> int:
    """The seed, if it is a whole number of less than 63 bits; else an InputError."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or abs(int(seed)) >= 2**63:
        raise InputError(
            f"seed={shortened(seed)} is not possible: give a whole number, as 0, of less than 2**63"
        )
    return int(seed)


def check_minimum(config: object, **least: int) -> None:
    """Refuse sizes in a model's config that are too small; of several numbers, any of them.

    Args:
        config: with an attribute, a number or a tuple of numbers, for each name.
        least: the smallest that is possible, by name.

    Raises:
        ValueError: says which size is not possible.
    """
    for name, bound in least.items():
        size = getattr(config, name)
        if min(size if isinstance(size, tuple) else (size,), default=bound - 1) < bound:
            raise ValueError(f"{name} {size} must be at least {bound}")
