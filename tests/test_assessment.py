"""What is said of a clip: measured on motions of which the truth is known."""

import numpy as np
import pytest

from b2m.inference.assessment import Assessment, assess


def waves(blur):
    """A picture of waves along x, 32 px long, as a blur of so many pixels along x leaves it."""
    x = np.arange(256)
    contrast = np.sinc(blur / 32)  # of a box filter, in closed form
    row = 128 + 80 * contrast * np.sin(2 * np.pi * x / 32)
    return np.repeat(np.rint(row).astype(np.uint8)[None, :, None], 96, 0).repeat(3, 2)


def flow_of(mask, length=16.0):
    return np.stack([length * mask, 0 * mask], -1).astype(np.float32)


def judged(photo, middle, flow, **options):
    given = {"threshold": 3.0, "fastest": 16.0, "still": False} | options
    return assess(photo, middle, flow, **given)


@pytest.mark.parametrize("blur", [0, 8, 16, 24])
def test_sharpened_is_how_much_contrast_the_blur_took(blur):
    mask = np.ones((96, 256))
    found = judged(waves(blur), waves(0), flow_of(mask))
    assert found.sharpened == pytest.approx(1 / np.sinc(blur / 32), rel=0.03)
    assert found.moved == 1 and found.specks == 0
    # Across the motion nothing is seen of it.
    across = np.stack([0 * mask, 16 * mask], -1).astype(np.float32)
    assert judged(waves(blur), waves(0), across).sharpened == pytest.approx(1)


def test_what_moved_and_what_is_scattered():
    mask = np.zeros((96, 256))
    mask[10:50, 20:90] = 1
    mask[60::4, ::8] = 1  # specks of one pixel
    found = judged(waves(8), waves(0), flow_of(mask))
    assert found.moved == pytest.approx(mask.mean())
    assert found.specks == pytest.approx(9 * 32 / mask.sum())
    assert judged(waves(8), waves(0), flow_of(mask, 2.0)).moved == 0  # under the threshold


def test_a_photo_in_which_nothing_moves_looks_sharp():
    found = judged(waves(0), waves(0), flow_of(np.zeros((96, 256))), still=True)
    assert found == (True, 0, 0, 1, 0, None)
    assert found.sentences == ("This photo looks sharp: no motion blur was found in it.",)


def test_little_and_scattered_motion_that_is_not_sure_is_not_believed():
    mask = np.zeros((96, 256))
    mask[::8, ::8] = 1
    flow = flow_of(mask)
    assert judged(waves(0), waves(0), flow, certainty=0.7).sharp
    assert "looks sharp" in judged(waves(0), waves(0), flow, certainty=0.7).sentences[0]
    for other in (0.95, None):  # it is sure, or a person has said so
        assert not judged(waves(0), waves(0), flow, certainty=other).sharp
    tiny = np.zeros((96, 256))
    tiny[20:34, 20:34] = 1  # in one piece
    assert judged(waves(0), waves(0), flow_of(tiny), certainty=0.7).sharp
    assert not judged(waves(0), waves(0), flow_of(tiny), certainty=0.8).sharp
    mask[20:60, 20:90] = 1  # not little
    assert not judged(waves(0), waves(0), flow_of(mask), certainty=0.7).sharp


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ("About 40% of the photo moved, the fastest parts by 12 px.", "clearly sharper")),
        ({"moved": 0.99}, ("All of the photo moved",)),
        ({"moved": 0.001}, ("Less than 1% of the photo moved. What moved",)),
        ({"moved": 0.001, "certainty": 0.6}, ("Less than 1% of the photo may have moved.",)),
        ({"sharpened": 1.3}, ("a little sharper (1.3 times",)),
        ({"sharpened": 1.0}, ("hardly became sharper",)),
        ({"certainty": 0.95}, ("b2m is sure of what moved", "blur does not tell")),
        ({"certainty": 0.85}, ("fairly sure",)),
        (
            {"certainty": 0.6},
            ("40% of the photo may have moved", "where it ends is vague", "may be sharp"),
        ),
        (
            {"certainty": 0.95, "specks": 0.3},
            ("may have moved", "not sure of this motion: part of it"),
        ),
    ],
)
def test_what_is_said(changes, words):
    found = Assessment(False, 0.4, 12.3, 1.8, 0.0, None)._replace(**changes)
    said = " ".join(found.sentences)
    assert all(word in said for word in words)
    assert "dB" not in said and "agree" not in said
