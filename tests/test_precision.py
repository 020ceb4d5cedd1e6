"""bfloat16 on CPUs with matrix units: near enough to float32, and one switch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from b2m import assets
from b2m.errors import InputError
from b2m.inference import precision
from b2m.inference.animator import BlurAnimator

CPU = torch.device("cpu")


def test_bfloat16_is_near_float32(monkeypatch):
    animator = BlurAnimator.from_pretrained(device="cpu")
    found = []
    for choice in "01":
        monkeypatch.setenv(precision.SWITCH, choice)
        prepared = animator.prepare(assets.examples() / "cat-roll.jpg")
        # Tiles of a large photo are encoded by `encode_detail`: the same, at its own size.
        with torch.inference_mode():
            alone = animator.encode_tile(prepared.encoder.sizes[0])
        found.append((prepared.encoding, alone))
    for full, half in zip(*found, strict=True):
        middle = (full.middle - half.middle).square().mean()
        assert -10 * torch.log10(middle) > 64
        away = (full.axis - half.axis).norm(dim=1).numpy()
        assert np.quantile(away, 0.99) < 0.1 and away.mean() < 0.04
        assert half.axis.dtype == half.middle.dtype == torch.float32
    assert (found[0][0].axis != found[1][0].axis).any()


def test_reversing_guidance_reverses_the_clip(monkeypatch):
    monkeypatch.setenv(precision.SWITCH, "1")
    animator = BlurAnimator.from_pretrained(device="cpu")
    prepared = animator.prepare(assets.examples() / "cat-roll.jpg")
    way = np.ones((*prepared.photo.shape[:2], 2), np.int8)
    there, back = (animator.animate(prepared, guidance=g, frames=3)[0] for g in (way, -way))
    np.testing.assert_allclose(there.frames, back.frames[::-1], atol=1)
    again = animator.animate(replace(prepared), guidance=way, frames=3)[0]
    np.testing.assert_array_equal(there.frames, again.frames)


@pytest.mark.parametrize("units", [False, True])
def test_the_switch(monkeypatch, units):
    monkeypatch.setattr(precision, "has_matrix_units", lambda: units)
    for value, expected in (("", units), ("auto", units), ("1", True), ("off", False)):
        monkeypatch.setenv(precision.SWITCH, value)
        with precision.network_precision(CPU):
            assert torch.is_autocast_enabled("cpu") == expected
            if expected:
                assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")
    monkeypatch.setenv(precision.SWITCH, "perhaps")
    with pytest.raises(InputError, match="set it to 1, 0 or auto"):
        precision.network_precision(CPU)


def test_flags_are_those_of_the_processor(monkeypatch, tmp_path):
    real = precision.has_matrix_units()
    assert real == torch.cpu._is_amx_tile_supported()
    for flags, expected in (("amx_bf16 amx_tile", True), ("avx512_bf16", False)):
        (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags}\n")
        monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "cpuinfo")
        precision.has_matrix_units.cache_clear()
        assert precision.has_matrix_units() == expected
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "none")
    precision.has_matrix_units.cache_clear()
    assert not precision.has_matrix_units()
    precision.has_matrix_units.cache_clear()
