"""The mean of predictions of a photo and its mirror images."""

from pathlib import Path

import numpy as np
import pytest
import torch

import b2m
from b2m.cli.app import main
from b2m.errors import InputError
from b2m.inference.ensemble import ENSEMBLES, mirrored, mirrored_vectors
from b2m.inference.multiscale import MultiscaleEncoder
from b2m.models.animator import Encoding, MotionAnimator, MotionAnimatorConfig, odd_residual, render
from b2m.motion.fields import double_angle, half_angle

EXAMPLES = Path(__file__).parents[1] / "examples"
SIZE = 48


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    model = MotionAnimator(MotionAnimatorConfig.tiny()).eval()
    for part in (model.head, model.detail_head, model.refinement.head):
        torch.nn.init.normal_(part.weight, std=0.05)
    return model


def drawn_encoding() -> tuple[Encoding, torch.Tensor]:
    torch.manual_seed(0)
    flow = 6 * torch.nn.functional.interpolate(torch.randn(1, 2, 4, 4), SIZE, mode="bicubic")
    maps = (
        torch.rand(1, 3, SIZE, SIZE),
        torch.randn(1, 2, SIZE, SIZE),
        torch.randn(1, 6, SIZE, SIZE),
    )
    middle, curve, odd = maps
    return Encoding(middle, double_angle(flow), curve, middle / 9, odd, *curve.split(1, 1)), flow


@pytest.mark.parametrize("axes", ENSEMBLES[4])
def test_a_mirrored_encoding_gives_mirrored_frames(axes):
    encoding, flow = drawn_encoding()
    there, ways = mirrored(encoding, axes), mirrored_vectors(flow, axes)
    for time in (-1.0, -0.4, 0.0, 1.0):
        expected = render(encoding, flow, time, odd_residual(encoding, flow)).flip(axes)
        torch.testing.assert_close(render(there, ways, time), expected, atol=2e-5, rtol=0)
    found = half_angle(there.axis)  # up to its sign
    found = torch.where((found * ways).sum(1, keepdim=True) < 0, -found, found)
    torch.testing.assert_close(found, ways, atol=1e-4, rtol=0)
    torch.testing.assert_close(mirrored(there, axes), encoding)  # and back


@pytest.mark.parametrize("count, axes", [(2, (3,)), (4, (2,)), (4, (2, 3))])
def test_the_mean_does_not_change_in_the_mirror(model, count, axes):
    photo = torch.rand(1, 3, SIZE, SIZE)
    guidance = torch.ones(1, 2, SIZE, SIZE)
    guidance[..., : SIZE // 3], guidance[:, 1, SIZE // 2 :] = 0, -1
    with torch.inference_mode():
        for said in (None, guidance):
            here, there = (
                MultiscaleEncoder(model, seen, 1, count).encode(way)
                for seen, way in (
                    (photo, said),
                    (photo.flip(axes), None if said is None else mirrored_vectors(said, axes)),
                )
            )
            torch.testing.assert_close(mirrored(there, axes), here, atol=1e-4, rtol=0)
            alone = MultiscaleEncoder(model, photo, 1).encode(said)
            assert (alone.middle - here.middle).abs().max() > 1e-4


def test_an_ensemble_is_chosen_by_name_and_on_the_command_line(model, tmp_path, capsys):
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    one, four = (b2m.BlurAnimator(model, ensemble=n).animate(photo)[0] for n in (1, 4))
    assert one.flow.shape == four.flow.shape
    for wrong in (3, 0, True, "4"):
        with pytest.raises(InputError, match="give 1, 2 or 4"):
            b2m.BlurAnimator(model, ensemble=wrong)
    with pytest.raises(InputError, match="ensemble=4 is of the animator"):
        b2m.flow(photo, model="blur-flow", ensemble=4)
    example = str(next(EXAMPLES.glob("*.jpg")))
    assert main(["flow", example, "-o", str(tmp_path), "--ensemble", "3"]) == 2
    assert "3 must be 1, 2 or 4" in capsys.readouterr().err
    fields = []
    for count in ("1", "2"):
        assert (
            main(["flow", example, "-o", str(tmp_path / f"{count}.flo"), "--ensemble", count]) == 0
        )
        fields.append(b2m.motion.read_flow(tmp_path / f"{count}.flo"))
    apart = np.hypot(*(fields[0] - fields[1]).transpose(2, 0, 1))
    assert 0 < np.median(apart) < 1.5  # another prediction of the same motion
