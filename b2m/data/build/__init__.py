"""Building data sets on disk, resumable at any point; one or many processes."""

from b2m.data.build.run import build

__all__ = ["build"]
