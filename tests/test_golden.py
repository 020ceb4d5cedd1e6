"""Fingerprints of what b2m computes, so that a change of its structure changes no result.

`B2M_GOLDEN=write pytest tests/test_golden.py` writes them anew after a change that is meant;
`B2M_GOLDEN=exact` compares them to the last bit, on the machine that wrote them.
"""

import hashlib
import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_build import gopro_tree
from test_sequences import texture

from b2m import hub
from b2m.data.build import from_scenes
from b2m.data.build.run import build
from b2m.data.recipes import DATASET_RECIPES
from b2m.data.rotation import RotationConfig
from b2m.data.scenes import SceneConfig, render
from b2m.data.sensor import simulate_sensor
from b2m.data.textures import procedural_cutouts, procedural_textures
from b2m.inference import precision
from b2m.inference.animator import BlurAnimator
from b2m.models.blur_flow import BlurFlowNet
from b2m.models.guidance_predictor import GuidancePredictor, one_hot, to_classes
from b2m.tensors import to_photo
from b2m.train.recipes import find_recipe

FILE = Path(__file__).with_name("golden.json")
MODE = os.environ.get("B2M_GOLDEN", "")
LOSSES = [
    "animator",
    "guidance-predictor",
    "decomposer-compact",
    "jin-compact",
    "video-restorer-compact",
    "video-restorer-pml",
    "video-restorer-pml-tcl",
    "blur-flow-compact",
    "nafnet-compact",
]


def agrees(name, *arrays):
    """Compares four numbers of each array, or the digest of all, with those of the file.

    They may be off by a hundredth, relative or absolute, whichever is more: several times what
    kinds of CPU and their arithmetic differ by, and less than a change that can be seen.
    """
    digest = hashlib.sha256()
    numbers = []
    for array in map(np.ascontiguousarray, arrays):
        digest.update(array.tobytes())
        values = array.astype(np.float64).ravel()
        ramp = np.linspace(-1, 1, values.size)
        numbers += [values.mean(), values.std(), (values * ramp).mean(), values[values.size // 3]]
    known = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    if MODE == "write":
        known[name] = {"numbers": numbers, "sha256": digest.hexdigest()}
        FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", "utf-8")
    elif MODE == "exact":
        assert digest.hexdigest() == known[name]["sha256"]
    else:
        np.testing.assert_allclose(numbers, known[name]["numbers"], rtol=0.01, atol=0.01)


@pytest.mark.parametrize("name", ["animator", "decomposer", "jin", "video-restorer"])
def test_clip(name, monkeypatch):
    monkeypatch.setenv(precision.SWITCH, "0")  # the same arithmetic on every CPU
    photo = (255 * texture(64, 80)).astype(np.uint8)
    animator = BlurAnimator.from_pretrained(model=name, device="cpu")
    clip = animator.animate(photo, frames=animator.model.native_frames or 5)[0]
    agrees(f"clip {name}", clip.frames, clip.flow, clip.guidance)


def test_guidance_predictor():
    predictor = GuidancePredictor.from_pretrained()
    photo = to_photo((255 * texture(64, 80)).astype(np.uint8))
    with torch.inference_mode():
        latents = predictor.sample_latents(3, seed=0)
        logits = torch.cat([predictor(photo, latent[None]) for latent in latents])
        encoded = predictor.encode(one_hot(to_classes(predictor.predict(photo, latents))))
    agrees("guidance predictor", logits.numpy(), *(part.numpy() for part in encoded))


def test_blur_flow():
    model = BlurFlowNet.from_pretrained()
    photo = to_photo((255 * texture(64, 80)).astype(np.uint8))
    with torch.inference_mode():
        agrees("blur flow", model(photo).numpy())


def test_every_shipped_weight_has_one():
    guarded = {"animator", "decomposer-compact", "jin-compact", "video-restorer-compact"}
    guarded |= {GuidancePredictor.weights_name, BlurFlowNet.weights_name}
    shipped = Path(hub.__file__).parents[1] / "weights"
    assert {path.parent.name for path in shipped.glob("*/config.json")} == guarded


@cache
def scenes():
    config = SceneConfig(size=64, blur=(4.0, 8.0))
    return render(procedural_textures(3, 96), procedural_cutouts(3, 96), config, 2, seed=1)


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name):
    recipe, truth = find_recipe(name), scenes()
    torch.manual_seed(0)
    model = recipe.model(type(recipe.config).tiny())
    objective = recipe.objective(model, recipe)
    batch = truth._replace(photo=simulate_sensor(truth.photo, 1))
    losses = torch.stack(list(objective(batch._asdict(), 3).values()))
    losses.sum().backward()
    steepness = [part.grad.norm() for part in objective.parameters() if part.grad is not None]
    agrees(f"loss {name}", losses.detach().numpy(), torch.stack(steepness).numpy())


@pytest.mark.parametrize("name", ["scenes", "rotation", "panorama", "gopro"])
def test_data_set(name, tmp_path):
    recipe = replace(
        DATASET_RECIPES[name],
        count=3,
        scenes=SceneConfig(size=48, blur=(4.0, 8.0)),
        rotation=RotationConfig(size=48),
    )
    source = tmp_path / "source"
    gopro_tree(source, frames=8, sequences=("train/GOPR0374_11_00",))
    (source / "images").mkdir()
    picture = (255 * texture(64, 128)).astype(np.uint8)
    cv2.imwrite(str(source / "images" / "wall.png"), picture)
    folder = {"scenes": None, "gopro": source}.get(name, source / "images")
    from_scenes._scene_textures.cache_clear()  # other tests make smaller textures, which are kept
    build(recipe, folder, tmp_path / "set")
    from_scenes._scene_textures.cache_clear()
    images = sorted((tmp_path / "set").rglob("*.png"))
    flows = sorted((tmp_path / "set").rglob("*.flo"))
    assert images and (flows or name == "gopro")
    agrees(
        f"data {name}",
        *(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in images),
        *(np.fromfile(path, np.float32) for path in flows),
    )
