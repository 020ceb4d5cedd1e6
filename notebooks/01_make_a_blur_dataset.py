# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Make a blur data set
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/b2m/blob/main/notebooks/01_make_a_blur_dataset.ipynb)
#
# A network that predicts motion from blur is trained on samples whose motion is known: a blurred photo,
# its sharp frames, the motion field and the guidance. `b2m data` makes such samples from high-speed
# video, panoramas, ordinary photos and the official packages of published data sets. This notebook
# shows each way on a few photos that come with scikit-image. It runs on a CPU in a few minutes.

# %%
# Installs b2m where it is missing, as in Colab. OWNER is the GitHub account that publishes b2m.
try:
    from skimage import data

    import b2m
except ImportError:
    from importlib.metadata import distributions
    from pathlib import Path

    if "github.com/OWNER".endswith("/OWN" + "ER"):
        print(
            "OWNER is not replaced in this copy: write the account that publishes b2m for it below."
        )
    # PyTorch and NumPy stay as they are, built for this machine.
    kept = [d for d in distributions() if d.name in ("torch", "torchvision", "numpy")]
    Path("constraints.txt").write_text("".join(f"{d.name}=={d.version}\n" for d in kept))
    # If pip cannot reach github.com, switch the network on for this step.
    # "Conflicting dependencies" means that PyTorch is older than 2.11, which b2m needs: choose a newer runtime.
    # %pip install --quiet -c constraints.txt "b2m[data] @ git+https://github.com/OWNER/b2m" scikit-image
    from skimage import data

    import b2m

# %%
import numpy as np

from b2m.blur import average_frames, linear_to_srgb8
from b2m.visualize.notebook import show

frames = np.stack([data.rocket()[100:420, 100 + x : 440 + x] for x in range(0, 49, 4)])
blur = linear_to_srgb8(average_frames(frames))  # the mean in linear light
show(
    frames[0],
    frames[-1],
    blur,
    titles=("first of 13 frames", "last frame", "their average: a blurred photo"),
    alt="Two sharp frames of a rocket seen by a panning camera, and their average, a blurred photo.",
)

# %% [markdown]
# ## Settings
#
# The number and the size of the scenes. Everything is written to a temporary folder, whose path
# `print(FOLDER)` shows; the commands below are for a terminal in that folder.

# %%
COUNT = 20  # scenes
SIZE = 128  # side of a scene, pixels

# %%
import os
import tempfile
from dataclasses import replace
from pathlib import Path

FOLDER = tempfile.mkdtemp()
os.chdir(FOLDER)

import cv2

from b2m.media import write_png
from b2m.motion import estimate_flow, flow_to_color
from b2m.tensors import to_pixels

PHOTOS = {"train": ["astronaut", "coffee"], "val": ["chelsea"], "test": ["rocket"]}
for split, names in PHOTOS.items():
    for name in names:
        Path("pack/photos", split).mkdir(parents=True, exist_ok=True)
        write_png(Path("pack/photos", split, f"{name}.png"), getattr(data, name)())

# %% [markdown]
# ## Average light, not codes
#
# A sensor adds up light. The values of an image file are not proportional to light: the sRGB transfer
# function encodes them. The mean of encoded values is too dark wherever something bright moves in
# front of something dark. Data sets that average encoded values teach blur that no camera makes.

# %%
of_codes = np.rint(frames.mean(0)).astype(np.uint8)
difference = np.abs(blur.astype(int) - of_codes)
show(
    of_codes,
    blur,
    np.clip(3 * difference, 0, 255).astype(np.uint8),
    titles=("mean of encoded values", "mean of linear light", "three times the difference"),
    alt="The average of encoded values is darker around the rocket than the average of linear light.",
)
print(f"largest difference: {difference.max()} of 255")

# %% [markdown]
# ## Scenes
#
# A scene has a photo as background and cut-outs, or pieces of other photos, in front of it, each on its
# own smooth path, so that frames, motion field and guidance are known exactly. The animator is trained
# on scenes. Put your own cut-outs into `pack/cutouts`; here procedural shapes are used. On the command line:
#
#     b2m data build --recipe scenes --source pack --count 20 --size 128 -o scenes

# %%
from b2m.data.build import build
from b2m.data.preview import dataset_sheet
from b2m.data.recipes import DATASET_RECIPES
from b2m.data.scenes import SceneConfig

config = SceneConfig(size=SIZE, blur=(6.0, 20.0))
print(build(replace(DATASET_RECIPES["scenes"], count=COUNT, scenes=config), "pack", "scenes"))
show(
    dataset_sheet("scenes", count=4, size=SIZE),
    side=1000,
    alt="Four scenes, a row each: blurred photo, three sharp frames, motion field, colour wheel, guidance.",
)

# %% [markdown]
# ## Video
#
# Consecutive frames of a high-speed camera are averaged in linear light; seven of them are kept as the sharp
# frames. Here a virtual camera pans over a photo by six pixels down and to the right per frame. These
# steps are too coarse: the average shows each edge seven times. `--max-step 1` inserts frames along the
# optical flow (or with RIFE: `--interpolate rife`) until no step is longer than one pixel.
#
#     b2m data build --recipe video --source clips -o plain
#     b2m data build --recipe video --source clips -o dense --max-step 1

# %%
from b2m.data.averaging import Averaging
from b2m.data.storage import read_index, read_sample
from b2m.media.video import write_mp4

wall = data.coffee()
seen = [wall[step : step + 274, 20 + step : 360 + step] for step in range(6 * 21)]
camera = seen[::6]
Path("clips").mkdir(exist_ok=True)
write_mp4("clips/pan.mp4", camera, 30)

dense = Averaging(max_step=1.0, interpolate="flow")
build(DATASET_RECIPES["video"], "clips", "plain")
build(replace(DATASET_RECIPES["video"], averaging=dense), "clips", "dense")

truth = linear_to_srgb8(average_frames(np.stack(seen[:37])))
corner = np.s_[80:200, 140:300]
pictures, titles = [truth[corner]], ["true blur: 37 instants"]
for folder in ("plain", "dense"):
    record = read_index(folder)[0]
    photo = read_sample(folder, record)[0].photo
    error = ((photo[20:-20, 20:-20].astype(float) - truth[20:-20, 20:-20]) ** 2).mean()
    pictures.append(photo[corner])
    titles.append(f"average of {record.averaged}: {10 * np.log10(255**2 / error):.1f} dB")
show(
    *pictures,
    titles=titles,
    alt="The rim of a cup: true blur is smooth, the average of few frames repeats edges, that of many does not.",
)

# %% [markdown]
# ## Rotating cameras
#
# A panorama shows all directions. A virtual camera in its centre rotates from one orientation to
# another (Slerp between two quaternions), and the views on the way are averaged (Argaw et al. 2021a,
# section 3). Put your panoramas into a folder:
#
#     b2m data build --recipe panorama --source panoramas --count 1000 -o turning
#
# Here a photo beside its mirror image stands in for a panorama.

# %%
from b2m.data.rotation import RotationConfig, render_panorama, render_rotation, render_view

half = cv2.resize(data.rocket(), (1024, 1024), interpolation=cv2.INTER_AREA)
panorama = np.concatenate([half, half[:, ::-1]], axis=1)
views = [render_view(panorama, yaw, 10, 0, 70, (150, 220)) for yaw in (-110, -90, -70)]
show(
    *views,
    titles=[f"yaw {yaw}°" for yaw in (-110, -90, -70)],
    alt="The rocket seen by a virtual camera at three yaw angles.",
)

turning = render_panorama(panorama, RotationConfig(size=200, angle=5.0), seed=3)
show(
    to_pixels(turning.photo[0]),
    to_pixels(turning.frames[0, 0]),
    to_pixels(turning.frames[0, -1]),
    flow_to_color(turning.flow[0].permute(1, 2, 0).numpy()),
    titles=("blurred photo", "first frame", "last frame", "exact motion field"),
    wheel=True,
    alt="A steel tower blurred by a rotating camera, its first and last frame, the motion field, a colour wheel.",
)

# %% [markdown]
# Without a panorama, the same camera rotates in front of ordinary photos, by the homography
# K·R·K⁻¹ (`--recipe rotation`).

# %%
from b2m.data.textures import load_textures

photos = load_textures("pack/photos", "train")
turned = render_rotation(photos, RotationConfig(size=160, blur=(10.0, 24.0)), 4, seed=7)
show(
    *(to_pixels(photo) for photo in turned.photo),
    alt="Four photos of a cup blurred by a rotating camera.",
)

# %% [markdown]
# ## Motion and guidance
#
# Guidance is the motion field quantized to five classes: still, where the motion is shorter than three
# pixels, or one of four quadrants. For real video the motion field has to be estimated. Where the true
# motion is known, the error of the estimate can be measured.

# %%
sample = 3  # the camera rolls, so that every part of the photo moves in another direction
known = turned.flow[sample].permute(1, 2, 0).numpy()
sharp = [to_pixels(frame) for frame in turned.frames[sample]]
estimated = estimate_flow(sharp[3], sharp[6]) - estimate_flow(sharp[3], sharp[0])
longest = float(np.linalg.norm(known, axis=-1).max())
show(
    flow_to_color(known, longest),
    flow_to_color(estimated, longest),
    b2m.guidance.to_color(b2m.guidance.from_flow(known)),
    b2m.guidance.to_color(b2m.guidance.from_flow(estimated)),
    titles=("exact motion field", "estimated by DIS", "guidance", "guidance, estimated"),
    wheel=True,
    alt="The exact and the estimated motion field of a rolling camera, the guidance of both, a colour wheel.",
)
off = np.linalg.norm(estimated - known, axis=-1)
same = (b2m.guidance.from_flow(known) == b2m.guidance.from_flow(estimated)).all(-1)
print(
    f"mean error {off.mean():.2f} px of up to {longest:.0f} px; guidance agrees at {same.mean():.0%}"
)

# %% [markdown]
# ## Published data sets
#
# There is a reader for each official package, with the splits of the papers. A folder in another layout is read
# as a folder of your own videos where the recipe averages frames.
#
#     b2m data build --recipe gopro   --source GOPRO_Large_all -o gopro           # 22 and 11 videos
#     b2m data build --recipe gopro   --source GOPRO_Large_all -o gopro --split 2021b   # 25 and 8
#     b2m data build --recipe gopro   --source GOPRO_Large_all -o gopro --window original --gamma 2.2
#     b2m data build --recipe genblur --source GOPRO_Large_all -o genblur --interpolate rife
#     b2m data build --recipe reds    --source REDS -o reds
#     b2m data build --recipe nfs     --source NfS -o nfs
#     b2m data build --recipe monkaa  --source monkaa -o monkaa
#     b2m data build --recipe aist    --source aist -o aist
#
# The next cell makes a small folder in GoPro's layout from the camera above, three times faster. Then it
# asks, **on purpose**, for Monkaa in that folder: the error message below is expected.

# %%
for name in ("train/GOPR0374_11_00", "test/GOPR0384_11_00"):
    folder = Path("GOPRO_Large_all", name)
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(seen[::2] if "train" in name else seen[::-2], 1):
        write_png(folder / f"{number:06d}.png", np.ascontiguousarray(frame))

print(build(DATASET_RECIPES["gopro"], "GOPRO_Large_all", "gopro"))
try:
    build(DATASET_RECIPES["monkaa"], "GOPRO_Large_all", "monkaa")
except b2m.InputError as error:
    print(f"Deliberate failure: {error}")

# %% [markdown]
# A build that is interrupted resumes where it stopped and writes the same bytes; a second run does
# nothing. Files that cannot be read are listed, and the others are used.

# %% [markdown]
# ## Preview, check, train
#
# `b2m data preview gopro` draws a contact sheet. `b2m data check gopro` reads all files and checks that the
# average of the frames is the photo, that the guidance is that of the flow, and that no source is in two
# splits. To show that it works, one photo is damaged **on purpose** and restored.

# %%
from b2m.data.check import check

show(
    dataset_sheet("gopro", count=2, size=150),
    side=1000,
    alt="Two samples of a cup, a row each: blurred photo, three sharp frames, motion field, wheel, guidance.",
)
print(list(check("gopro")) or "gopro: no errors")

blur_file = Path("gopro", read_index("gopro")[0].blur)
sound = read_sample("gopro", read_index("gopro")[0])[0].photo
write_png(blur_file, 255 - sound)  # the deliberate damage
print("Deliberate failure:", *check("gopro"), sep="\n")
write_png(blur_file, sound)

# %% [markdown]
# In PyTorch: crops, rotated, mirrored and reversed together with their vectors, in other colours and with
# sensor noise, the same for the same seed and epoch (`augment=False` switches augmentation off). Several data
# sets can be mixed in given shares.

# %%
from b2m.data.datasets import BlurClipDataset, mixed_loader

parts = {
    "scenes": BlurClipDataset("scenes", "train", 96),
    "clips": BlurClipDataset("dense", "train", 96),
}
loader = mixed_loader(parts, {"scenes": 0.9, "clips": 0.1}, samples=20, batch=4)
batch = next(iter(loader))
print({name: tuple(value.shape) for name, value in batch.items()})
show(*(to_pixels(one) for one in batch["photo"]), alt="Four augmented crops of blurred photos.")

# %% [markdown]
# ## If something goes wrong
#
# Once b2m is installed nothing here needs a network. If a build is interrupted or the disk is full, run
# the same call again: it continues, and finished samples are kept. If memory runs out, choose a smaller
# `SIZE` and restart the kernel.
