"""The table "direction": scenes sorted by the way the camera moves, gains of the end frames."""

import numpy as np
import pytest

from b2m.evaluate.methods import Method
from b2m.evaluate.scoring import MAX_PSNR, Prediction
from b2m.evaluate.table import Options
from b2m.evaluate.tables.direction import DirectionTable
from b2m.metrics import psnr


def test_gains_of_either_order_by_direction():
    seen = []

    def true_frames_reversed(sample):
        seen.append(sample)
        return [Prediction(sample.frames[::-1])]

    def photo(sample):
        return [Prediction(np.stack([sample.photo] * 3))]

    methods = [
        Method("true", true_frames_reversed, order_invariant=True),
        Method("photo", photo, order_invariant=True),
    ]
    rows = DirectionTable(Options(samples=2), methods).compute()
    names = [row["name"] for row in rows]
    assert names == [
        f"{way}: {name}" for way in ("across", "up or down") for name in ("true", "photo")
    ]
    for row, some in ((rows[0], seen[:2]), (rows[2], seen[2:])):
        ends = [MAX_PSNR - psnr(one.photo, one.frames[i]) for one in some for i in (0, -1)]
        assert row["ends"] == pytest.approx(np.mean(ends))
    assert all(row["ends"] == row["middle"] == 0 for row in (rows[1], rows[3]))
    across, down = (np.abs([s.flow.mean((0, 1)) for s in some]) for some in (seen[:2], seen[2:]))
    assert (across[:, 0] > 2 * across[:, 1]).all() and (down[:, 1] > 2 * down[:, 0]).all()
