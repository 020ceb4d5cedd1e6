"""What a camera does: JPEG against SciPy and Pillow, noise against its model."""

import io

import numpy as np
import pytest
import torch
from made_pictures import decoded, srgb
from PIL import Image
from scipy import fft, ndimage

from b2m.data.sensor import SensorConfig, jpeg_like, simulate_sensor

NOTHING = SensorConfig(read_noise=0.0, shot_noise=0.0, compressed=0.0)


def picture(height, width, seed=0, batch=1):
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(batch, 3, height, width)), (0, 0, 2, 2))
    return np.clip(0.5 + 0.2 * image / image.std(), 0, 1)


def pillows_jpeg(image, quality):
    """Through a real encoder: the picture it gives back and its two tables, 8x8 row by row."""
    pixels = np.rint(255 * image).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    stored = Image.open(buffer)
    tables = [np.array(stored.quantization[number]).reshape(8, 8) for number in (0, 1)]
    return np.asarray(stored).transpose(2, 0, 1) / 255, tables


def block_by_block(image, tables):
    """JPEG as the standard has it, one block after the other (ITU-T T.81; JFIF colours)."""
    to_ycc = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    _, height, width = image.shape
    padded = np.pad(255 * image, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
    planes = np.einsum("ij,jyx->iyx", to_ycc, padded)
    planes[0] -= 128
    for plane, table in zip(planes, (tables[0], tables[1], tables[1]), strict=True):
        for top in range(0, plane.shape[0], 8):
            for left in range(0, plane.shape[1], 8):
                block = plane[top : top + 8, left : left + 8]
                steps = np.round(fft.dctn(block, norm="ortho") / table)
                block[:] = fft.idctn(steps * table, norm="ortho")
    planes[0] += 128
    back = np.einsum("ij,jyx->iyx", np.linalg.inv(to_ycc), planes)
    return back[:, :height, :width] / 255


@pytest.mark.parametrize("quality", [10, 49, 50, 75, 97])
@pytest.mark.parametrize(("height", "width"), [(16, 24), (19, 33)])
def test_jpeg_is_the_standards(quality, height, width):
    image = picture(height, width)[0]
    real, tables = pillows_jpeg(image, quality)
    photo = torch.from_numpy(image).float()[None]
    found = jpeg_like(photo, torch.tensor([float(quality)]))[0].numpy()
    expected = block_by_block(image, tables)
    error = np.abs(found - expected)
    # Here and there a coefficient lies on the edge between two steps.
    assert np.median(error) < 1e-4
    assert (error < 2e-3).mean() > 0.95
    # A real encoder and decoder round to 8 bits four times, and pad otherwise.
    inner = (slice(None), slice(0, height // 8 * 8), slice(0, width // 8 * 8))
    assert np.abs(np.clip(found, 0, 1) - real)[inner].mean() < 2 / 255


def test_each_photo_has_its_own_quality():
    photos = torch.from_numpy(picture(16, 16, batch=3)).float()
    qualities = torch.tensor([20.0, 60.0, 95.0])
    together = jpeg_like(photos, qualities)
    for row in range(3):
        alone = jpeg_like(photos[row : row + 1], qualities[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)
    errors = (together - photos).abs().mean((1, 2, 3))
    assert errors[0] > errors[1] > errors[2]


def grey(light, batch, side=96):
    """Left half of one light, right half of another, sRGB."""
    values = torch.from_numpy(srgb(np.array(light))).float()
    return values.repeat_interleave(side // 2).expand(batch, 3, side, side)


def variances(photo):
    light = decoded(photo)
    half = light.shape[-1] // 2
    return [light[..., part].var((1, 2, 3)) for part in (slice(half), slice(half, None))]


def test_read_noise_is_the_same_in_dark_and_light():
    config = SensorConfig(read_noise=0.02, shot_noise=0.0, compressed=0.0)
    dark, bright = variances(simulate_sensor(grey((0.2, 0.5), 64), 1, config))
    loud = dark > 0.004**2  # where rounding to 8 bits does not count
    assert loud.sum() > 20
    np.testing.assert_allclose(dark[loud], bright[loud], rtol=0.15)
    # Strengths: squares of even draws, below the largest.
    strength = np.sqrt(dark) / 0.02
    assert strength.max() < 1.05
    assert np.sqrt(strength).mean() == pytest.approx(0.5, abs=0.13)


def test_variance_of_shot_noise_grows_with_the_light():
    config = SensorConfig(read_noise=0.0, shot_noise=0.002, compressed=0.0)
    dark, bright = variances(simulate_sensor(grey((0.15, 0.45), 64), 2, config))
    loud = dark > 0.004**2
    assert loud.sum() > 10
    np.testing.assert_allclose(bright[loud] / dark[loud], 3, rtol=0.15)
    strength = bright / 0.45 / 0.002
    assert strength.max() < 1.05
    assert np.sqrt(strength[loud]).mean() > 0.4


def test_noise_is_white_and_has_no_bias():
    config = SensorConfig(read_noise=0.02, shot_noise=0.0, compressed=0.0)
    photo = simulate_sensor(grey((0.3, 0.3), 16), 3, config)
    noise = decoded(photo) - 0.3
    loud = noise[noise.std((1, 2, 3)) > 0.005]
    assert np.abs(loud.mean((1, 2, 3))).max() < 5e-4
    for shifted in (np.roll(loud, 1, -1), np.roll(loud, 1, -2), np.roll(loud, 1, 1)):
        assert abs((loud * shifted).mean() / loud.var()) < 0.02


def test_a_perfect_camera_only_rounds():
    photo = torch.from_numpy(picture(20, 30, batch=2)).float()
    expected = np.rint(255 * photo.numpy())
    found = 255 * simulate_sensor(photo, 0, NOTHING).numpy()
    assert np.abs(found - expected).max() <= 1  # the curve and back may tip a tie
    assert (np.rint(found) == expected).mean() > 0.999


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_photos_are_8_bit_and_the_same_for_a_seed(seed):
    photo = torch.from_numpy(picture(21, 18, batch=4)).float()
    before = torch.get_rng_state()
    first, again = simulate_sensor(photo, seed), simulate_sensor(photo, seed)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, simulate_sensor(photo, seed + 1))
    assert first.shape == photo.shape
    assert first.min() >= 0
    assert first.max() <= 1
    codes = first.double() * 255
    assert (codes - codes.round()).abs().max() < 1e-4


def test_about_half_of_the_photos_are_compressed():
    photo = torch.from_numpy(picture(16, 16)).float().expand(400, 3, 16, 16)
    config = SensorConfig(read_noise=0.0, shot_noise=0.0, compressed=0.5, quality=(10, 20))
    changed = (simulate_sensor(photo, 5, config) - photo).abs().amax((1, 2, 3)) > 1.01 / 255
    assert changed.float().mean().item() == pytest.approx(0.5, abs=0.1)
