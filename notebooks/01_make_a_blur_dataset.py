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
# To learn what happened while a shutter was open, one needs photos of which it is known: blur, sharp
# frames, the motion field, guidance. `b2m data` makes them from high-speed video, panoramas,
# ordinary photos and the packages that data sets are given out in. This page shows each way on a
# few photos that come with scikit-image, on a CPU, in a few minutes.

# %%
# In Colab, or wherever b2m is not installed yet; OWNER stands for the account that publishes it.
try:
    from skimage import data

    import b2m
except ImportError:
    from importlib.metadata import distributions
    from pathlib import Path

    if "github.com/OWNER".endswith("/OWN" + "ER"):
        print("This copy does not say where b2m is published: put that account for OWNER below.")
    # PyTorch and NumPy stay as they are, made for this machine.
    kept = [d for d in distributions() if d.name in ("torch", "torchvision", "numpy")]
    Path("constraints.txt").write_text("".join(f"{d.name}=={d.version}\n" for d in kept))
    # Without a network pip says that it cannot reach github.com: switch it on for this one step.
    # "Conflicting dependencies" mean that PyTorch here is older than 2.11, which b2m needs: take a newer runtime.
    # %pip install --quiet -c constraints.txt "b2m[data] @ git+https://github.com/OWNER/b2m" scikit-image
    from skimage import data

    import b2m

# %% [markdown]
# How much is made. All of it lies in a temporary folder until the machine is switched off; `print(FOLDER)` says
# where, and the commands below are for a terminal that is there.

# %%
COUNT = 20  # scenes
SIZE = 128  # their side, pixels

# %%
import os
import tempfile
from dataclasses import replace
from pathlib import Path

FOLDER = tempfile.mkdtemp()
os.chdir(FOLDER)

import cv2
import matplotlib.pyplot as plt
import numpy as np

from b2m.blur import average_bytes, encode_bytes
from b2m.media import write_png
from b2m.motion import estimate_flow, flow_to_color

# %config InlineBackend.figure_formats = ["jpeg"]

PHOTOS = {"train": ["astronaut", "coffee"], "val": ["chelsea"], "test": ["rocket"]}
for split, names in PHOTOS.items():
    for name in names:
        Path("pack/photos", split).mkdir(parents=True, exist_ok=True)
        write_png(Path("pack/photos", split, f"{name}.png"), getattr(data, name)())


def show(*pictures, titles=(), width=3.4):
    """Draw pictures side by side."""
    height = width * pictures[0].shape[0] / pictures[0].shape[1] + 0.3
    figure, axes = plt.subplots(
        1, len(pictures), figsize=(width * len(pictures), height), squeeze=False
    )
    for number, (axis, picture) in enumerate(zip(axes[0], pictures, strict=True)):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_axis_off()
        if titles:
            axis.set_title(titles[number], fontsize=9)
    figure.tight_layout(pad=0.3)
    plt.show()


def pixels(tensor):
    """(3, H, W) in [0, 1] to (H, W, 3) of bytes."""
    return (tensor.permute(1, 2, 0) * 255).round().byte().numpy()


# %% [markdown]
# ## What blur is
#
# A sensor adds up light. The codes of a picture are not light: they are bent by the sRGB curve, so
# that a mean of codes is too dark wherever something bright moves before something dark. Data sets
# that average codes teach blur that no camera makes.

# %%
photo = data.rocket()[100:420, 100:500]
frames = np.stack([photo[:, shift : shift + 340] for shift in range(0, 49, 4)])
of_codes = np.rint(frames.mean(0)).astype(np.uint8)
of_light = encode_bytes(average_bytes(frames))
difference = np.abs(of_light.astype(int) - of_codes)
show(
    of_codes,
    of_light,
    np.clip(3 * difference, 0, 255),
    titles=("mean of codes", "mean of light", "difference, three times"),
)
print(f"they differ by up to {difference.max()} of 255")

# %% [markdown]
# ## Scenes
#
# Photos behind, cut-outs or pieces of other photos before them, each on a smooth path of its own:
# everything is known, at no cost. This is what the animator learns from. Your own cut-outs go into
# `pack/cutouts`; here they are made up. On the command line:
#
#     b2m data build --recipe scenes --source pack --count 20 --size 128 -o scenes

# %%
from b2m.data.build import build
from b2m.data.preview import dataset_sheet
from b2m.data.recipes import RECIPES
from b2m.data.scenes import SceneConfig

config = SceneConfig(size=SIZE, blur=(6.0, 20.0))
print(build(replace(RECIPES["scenes"], count=COUNT, scenes=config), "pack", "scenes"))
show(dataset_sheet("scenes", count=4, size=SIZE), width=10)

# %% [markdown]
# ## Video
#
# Consecutive frames of a fast camera are averaged in linear light; seven of them stay as the sharp
# frames. Here the camera goes over a photo, six pixels down and to the right from frame to frame,
# which is too coarse: the mean shows each edge seven times. `--max-step 1` puts frames between, along
# optical flow (or by RIFE with `--interpolate rife`), until no step is longer than a pixel.
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
build(RECIPES["video"], "clips", "plain")
build(replace(RECIPES["video"], averaging=dense), "clips", "dense")

truth = encode_bytes(average_bytes(np.stack(seen[:37])))
corner = np.s_[80:200, 140:300]
pictures, titles = [truth[corner]], ["true blur: 37 instants"]
for folder in ("plain", "dense"):
    record = read_index(folder)[0]
    blur = read_sample(folder, record)[0].photo
    error = ((blur[20:-20, 20:-20].astype(float) - truth[20:-20, 20:-20]) ** 2).mean()
    pictures.append(blur[corner])
    titles.append(f"{record.averaged} frames averaged: {10 * np.log10(255**2 / error):.1f} dB")
show(*pictures, titles=titles)

# %% [markdown]
# ## Cameras that turn
#
# A panorama is a picture of all directions. A virtual camera in its middle turns from one
# orientation to another, the quaternions between by Slerp, and what it sees on the way is averaged
# (Argaw et al. 2021a, section 3). Put your panoramas into a folder:
#
#     b2m data build --recipe panorama --source panoramas --count 1000 -o turning
#
# There is none at hand here, so a photo and its mirror image stand in for one.

# %%
from b2m.data.rotation import RotationConfig, render_panorama, render_rotation, render_view

half = cv2.resize(data.rocket(), (1024, 1024), interpolation=cv2.INTER_AREA)
panorama = np.concatenate([half, half[:, ::-1]], axis=1)
views = [render_view(panorama, yaw, 10, 0, 70, (150, 220)) for yaw in (-110, -90, -70)]
show(*views, titles=[f"yaw {yaw}°" for yaw in (-110, -90, -70)])

turning = render_panorama(panorama, RotationConfig(size=200, angle=5.0), seed=3)
show(
    pixels(turning.blur[0]),
    pixels(turning.frames[0, 0]),
    pixels(turning.frames[0, -1]),
    flow_to_color(turning.flow[0].permute(1, 2, 0).numpy()),
    titles=("blur", "first", "last", "exact motion field"),
    width=2.4,
)

# %% [markdown]
# Where there is no panorama, the same camera turns before ordinary photos, by the homography
# K·R·K⁻¹ (`--recipe rotation`).

# %%
from b2m.data.textures import load_textures

photos = load_textures("pack/photos", "train")
turned = render_rotation(photos, RotationConfig(size=160, blur=(10.0, 24.0)), 4, seed=7)
show(*(pixels(blur) for blur in turned.blur), width=2.4)

# %% [markdown]
# ## Motion and guidance
#
# Guidance is the motion field in five answers: still, where things go less than three pixels, or one
# of four quadrants. Of real video the field has to be estimated; how well that goes can be seen where
# it is known.

# %%
sample = 3  # rolls, so that every part of it goes its own way
known = turned.flow[sample].permute(1, 2, 0).numpy()
frames = [pixels(frame) for frame in turned.frames[sample]]
estimated = estimate_flow(frames[3], frames[6]) - estimate_flow(frames[3], frames[0])
longest = float(np.linalg.norm(known, axis=-1).max())
show(
    flow_to_color(known, longest),
    flow_to_color(estimated, longest),
    b2m.guidance.to_color(b2m.guidance.from_flow(known)),
    b2m.guidance.to_color(b2m.guidance.from_flow(estimated)),
    titles=("exact field", "estimated by DIS", "guidance", "guidance, estimated"),
    width=2.4,
)
off = np.linalg.norm(estimated - known, axis=-1)
same = (b2m.guidance.from_flow(known) == b2m.guidance.from_flow(estimated)).all(-1)
print(f"off by {off.mean():.2f} px of up to {longest:.0f}; guidance agrees at {same.mean():.0%}")

# %% [markdown]
# ## What you have downloaded
#
# Each official layout has its reader, with the splits of the papers:
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
# A tree of GoPro's layout, in small, from the same camera three times faster; and what is said of another
# layout.

# %%
for name in ("train/GOPR0374_11_00", "test/GOPR0384_11_00"):
    folder = Path("GOPRO_Large_all", name)
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(seen[::2] if "train" in name else seen[::-2], 1):
        write_png(folder / f"{number:06d}.png", np.ascontiguousarray(frame))

print(build(RECIPES["gopro"], "GOPRO_Large_all", "gopro"))
try:
    build(RECIPES["reds"], "GOPRO_Large_all", "reds")
except b2m.InputError as error:
    print(error)

# %% [markdown]
# A build that is killed resumes where it stopped and ends with the same bytes; a second run does
# nothing. What cannot be read is listed, the rest is made.

# %% [markdown]
# ## Look, check, train
#
# `b2m data preview gopro` draws a sheet; `b2m data check gopro` reads everything, and sees that the
# frames average to the photo, that guidance is that of the flow, that no source is in two splits.

# %%
from b2m.data.check import check

show(dataset_sheet("gopro", count=2, size=150), width=10)
print(list(check("gopro")) or "gopro: all is well")

blur = Path("gopro", read_index("gopro")[0].blur)
sound = read_sample("gopro", read_index("gopro")[0])[0].photo
write_png(blur, 255 - sound)  # harm
print(*check("gopro"), sep="\n")
write_png(blur, sound)

# %% [markdown]
# And into PyTorch: crops, turned, mirrored and reversed with their vectors, in other colours and with the
# noise of a sensor, the same for the same seed and epoch (`vary=False` leaves them as they are); several
# sets mixed in shares.

# %%
from b2m.data.datasets import BlurClipDataset, mixed_loader

parts = {
    "scenes": BlurClipDataset("scenes", "train", 96),
    "clips": BlurClipDataset("dense", "train", 96),
}
loader = mixed_loader(parts, {"scenes": 0.9, "clips": 0.1}, samples=20, batch=4)
batch = next(iter(loader))
print({name: tuple(value.shape) for name, value in batch.items()})
show(*(pixels(one) for one in batch["photo"]), width=2.4)

# %% [markdown]
# ## If something goes wrong
#
# Nothing here needs a network once b2m is installed. A data set whose making was interrupted, or for which the
# disk was too small, is gone on with by the same call: what is there already stays. Where memory runs out, take
# a smaller `SIZE` and restart the kernel.
