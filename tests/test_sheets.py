"""Sheets hold what they were given, where a reader looks for it."""

from __future__ import annotations

import numpy as np
import pytest

from b2m.errors import InputError
from b2m.visualize import contact_sheet as sheets


def plain(color: tuple[int, int, int], height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def holds(sheet: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((sheet == np.array(color, np.uint8)).all(-1).sum())


def test_grid_shows_every_tile_whole() -> None:
    colors = [(200, 10, 10), (10, 200, 10), (10, 10, 200), (200, 200, 10), (10, 200, 200)]
    sheet = sheets.grid([plain(color) for color in colors], list("abcde"), columns=3)
    assert sheet.dtype == np.uint8
    for color in colors:
        assert holds(sheet, color) == 40 * 60
    # Two rows of three places, in reading order.
    places = [np.argwhere((sheet == np.array(color)).all(-1)).min(0) for color in colors]
    assert places[0][0] == places[1][0] == places[2][0] < places[3][0] == places[4][0]
    assert places[0][1] == places[3][1] < places[1][1] == places[4][1] < places[2][1]


def test_grid_takes_tiles_of_different_sizes() -> None:
    tiles = [plain((9, 9, 99)), plain((99, 9, 9), 20, 20), plain((9, 99, 9), 33, 50)]
    sheet = sheets.grid(tiles)
    for tile in tiles:
        assert holds(sheet, tuple(tile[0, 0])) == tile.shape[0] * tile.shape[1]


def test_captions_are_drawn_and_cut() -> None:
    tile = plain((255, 255, 255))
    bare = sheets.grid([tile])
    captioned = sheets.grid([tile], ["t = 0.00"])
    assert (captioned < 100).all(-1).sum() > 30
    assert captioned.shape[0] > bare.shape[0] and captioned.shape[1] == bare.shape[1]
    long = sheets.grid([tile], ["a very long name of a photo that cannot fit"])
    assert long.shape[1] == bare.shape[1]
    assert (long[:, :10] > 250).all() and (long[:, -10:] > 250).all(), "nothing runs out"


@pytest.mark.parametrize("labels", [["a"], ["a", "b", "c"]])
def test_grid_refuses_wrong_labels(labels: list[str]) -> None:
    with pytest.raises(InputError, match="2 tiles"):
        sheets.grid([plain((0, 0, 0))] * 2, labels)
    with pytest.raises(InputError, match="0 tiles"):
        sheets.grid([])


@pytest.mark.parametrize("size", [(90, 120), (400, 100), (16, 16), (17, 300)])
@pytest.mark.parametrize("count", [2, 7])
def test_clip_sheet_of_any_size(size: tuple[int, int], count: int) -> None:
    photo = plain((50, 60, 70), *size)
    frames = [plain((10 * i, 200, 0), *size) for i in range(count)]
    flow = np.zeros((*size, 2), np.float32)
    flow[: size[0] // 2] = (9, 3)
    sheet = sheets.clip_sheet(photo, iter(frames), flow, max_tile=100)
    share = min(1, 100 / max(size))
    pixels = round(size[0] * share) * round(size[1] * share)
    assert holds(sheet, (50, 60, 70)) == pixels
    for i in range(count):
        assert holds(sheet, (10 * i, 200, 0)) == pixels


def test_arrows_point_the_way_things_move() -> None:
    image = plain((128, 128, 128), 66, 66)
    flow = np.zeros((66, 66, 2), np.float32)
    flow[22:44, 22:44] = (20, 0)
    drawn = sheets.arrows(image, flow, spacing=66).astype(int)
    paint = np.abs(drawn - drawn[0, 0]).sum(-1)
    assert paint[:20].sum() == paint[-20:].sum() == 0
    columns = (paint > 60).sum(0)
    used = np.flatnonzero(columns)
    assert used.min() < 30 and used.max() > 36
    # The head, the thick end, is on the right.
    assert columns[34:].max() > columns[:32].max() + 2
    mirrored = sheets.arrows(image, -flow, spacing=66).astype(int)
    columns = (np.abs(mirrored - mirrored[0, 0]).sum(-1) > 60).sum(0)
    assert columns[:32].max() > columns[34:].max() + 2


def test_still_and_unknown_flow_draw_nothing() -> None:
    image = plain((128, 128, 128), 66, 66)
    for value in (0.0, np.nan):
        drawn = sheets.arrows(image, np.full((66, 66, 2), value, np.float32))
        assert (drawn == drawn[0, 0]).all()
