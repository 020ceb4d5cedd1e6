"""The picture of scenes: a row each, everything that is known of a scene in it."""

import numpy as np
import pytest
import torch

from b2m.data import preview
from b2m.data.scenes import SceneConfig, render
from b2m.data.textures import load_textures
from b2m.guidance.palette import PALETTE
from b2m.visualize.contact_sheet import legend

pytestmark = pytest.mark.usefixtures("few_textures")


def places(sheet, tile):
    """Where a picture lies in a sheet, as (row, column) of its upper left corner."""
    height, width = tile.shape[:2]
    found = []
    for y, x in np.argwhere((sheet == tile[0, 0]).all(-1)):
        part = sheet[y : y + height, x : x + width]
        if part.shape == tile.shape and (part == tile).all():
            found.append((int(y), int(x)))
    return found


def test_a_row_shows_a_scene():
    sheet = preview.preview_sheet(None, None, seed=3, count=2, size=48)
    assert sheet.dtype == np.uint8
    both = load_textures(None, "train"), load_textures(None, "train", cutouts=True)
    scenes = render(*both, SceneConfig(size=48, blur=(2.0, 8.0)), 2, 3)
    for row in range(2):
        ends = [
            (scenes.frames[row, index].permute(1, 2, 0) * 255).round().byte().numpy()
            for index in (0, 3, 6)
        ]
        corners = [places(sheet, end) for end in ends]
        assert all(len(found) == 1 for found in corners)
        (top, first), (_, middle), (_, last) = (found[0] for found in corners)
        assert first < middle < last
        assert {found[0][0] for found in corners} == {top}
        # Eight pictures side by side: the photo to the left, four to the right.
        step = middle - first
        assert first - step >= 0 and last + 4 * step + 48 <= sheet.shape[1] < last + 6 * step
        colors = {
            tuple(color)
            for color in sheet[top : top + 48, last + 3 * step :][:, :48].reshape(-1, 3).tolist()
        }
        assert colors <= set(PALETTE.values())
        assert places(sheet[:, last + 2 * step :], legend(48)), "the wheel is beside the motion"
        mask = sheet[top : top + 48, last + 4 * step :][:, :48, 0] == 255
        assert (mask == scenes.moving[row, 0].numpy()).all()


def test_a_seed_gives_the_same_sheet_and_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    one, two, other = (
        preview.preview_sheet(None, None, seed=seed, count=1, size=32) for seed in (1, 1, 2)
    )
    assert (one == two).all()
    assert one.shape == other.shape and (one != other).any()
    assert torch.equal(before, torch.get_rng_state())


def test_more_scenes_than_are_rendered_at_once(monkeypatch):
    monkeypatch.setattr(preview, "_SCENES_AT_ONCE", 2)
    three = preview.preview_sheet(None, None, seed=0, count=3, size=32)
    one = preview.preview_sheet(None, None, seed=0, count=1, size=32)
    assert three.shape[0] > 2.5 * one.shape[0] and three.shape[1] == one.shape[1]
