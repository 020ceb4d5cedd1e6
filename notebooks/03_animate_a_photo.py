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
# # Animate a photo
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/b2m/blob/main/notebooks/03_animate_a_photo.ipynb)
#
# A motion-blurred photo is the mean of everything that happened while its shutter was open. b2m
# plays it back. It needs no GPU and no network: the weights come with the package.

# %%
# In Colab, or wherever b2m is not installed yet; OWNER stands for the account that publishes it.
try:
    import b2m
except ImportError:
    # Without a network pip says that it cannot reach github.com: switch it on for this one step.
    # %pip install --quiet git+https://github.com/OWNER/b2m
    import b2m

# %% [markdown]
# ## A photo
#
# Choose one of yours, then run the cells below; or go on with an example. It goes to the machine on which
# this notebook runs, and no further.

# %%
import ipywidgets as widgets

upload = widgets.FileUpload(accept="image/*", description="Choose a photo")
upload

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML

# %config InlineBackend.figure_formats = ["jpeg"]

places = (Path(b2m.__file__).parents[up] / "examples" for up in (0, 1))  # installed, or a checkout
EXAMPLES = next(place for place in places if place.is_dir())
# Older widgets, as Colab has, give a dictionary, newer ones a tuple.
chosen = list(upload.value.values() if isinstance(upload.value, dict) else upload.value)
PHOTO = bytes(chosen[-1]["content"]) if chosen else EXAMPLES / "moving-apart.jpg"


def show(*pictures, titles=()):
    """Draw pictures side by side."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(4 * len(pictures), 3), squeeze=False)
    for number, (axis, picture) in enumerate(zip(axes[0], pictures, strict=True)):
        axis.imshow(picture, cmap="gray")
        axis.set_axis_off()
        if titles:
            axis.set_title(titles[number])
    figure.tight_layout(pad=0.3)
    plt.show()


animator = b2m.BlurAnimator.from_pretrained()
try:
    prepared = animator.prepare(PHOTO)  # the expensive part, once per photo
except b2m.InputError as error:  # no photo, a damaged one, too small or too large
    print(f"{error}\nGoing on with the example.")
    prepared = animator.prepare(EXAMPLES / "moving-apart.jpg")
clip = animator.animate(prepared)[0]
show(prepared.photo, clip.frames[0], clip.frames[-1], titles=("photo", "first", "last"))

# %% [markdown]
# The clip itself; `clip` alone in a cell shows it, too. Any number of frames comes out of the same
# look at the photo.

# %%
HTML(clip._repr_html_())

# %% [markdown]
# ## What moved, and how far
#
# The motion field says for each pixel how far it went during the exposure. Hue is the direction.

# %%
show(
    b2m.motion.flow_to_color(clip.flow),
    b2m.guidance.to_color(clip.guidance),
    clip.moving,
    titles=("motion field", "guidance: still, or one of four quadrants", "moves by itself"),
)
print(f"fastest: {np.hypot(*clip.flow.reshape(-1, 2).T).max():.0f} px in the exposure")

# %% [markdown]
# ## Does the clip explain the photo?
#
# Averaged in linear light, the frames must give the photo again. `reblur_psnr` says how closely
# they do; `reblur_psnr_raw` how closely the network's own frames do, before they are made to.

# %%
again = b2m.blur.encode_bytes(np.mean([b2m.blur.decode_bytes(f) for f in clip.frames], axis=0))
difference = np.abs(again.astype(int) - prepared.photo).max(axis=-1)
show(prepared.photo, again, titles=("photo", "mean of the frames"))
print(f"{clip.reblur_psnr:.0f} dB; raw {clip.reblur_psnr_raw:.0f} dB")
print(f"off by {difference.max()} of 255 at the most")

# %% [markdown]
# ## The other motions
#
# Blur looks the same backwards, and each thing may have gone either way by itself. These are the
# most plausible choices, best first.

# %%
clips = animator.animate(prepared, motions=4)
show(*(b2m.motion.flow_to_color(c.flow) for c in clips), titles=[f"{c.score:.2f}" for c in clips])

# %% [markdown]
# ## Direct it
#
# A stroke takes the whole thing under it. Points are (x, y) in pixels, the direction of the stroke
# is the direction of motion.

# %%
WIDTH, HEIGHT = prepared.photo.shape[1::-1]
# The figure on the left of the example went to the left; in other photos what moves in the middle.
stroke = [(WIDTH // 2, HEIGHT // 2), (WIDTH // 4, HEIGHT // 2)]
if not chosen:
    stroke = [(215, 215), (175, 215)]


def direct(x, y, right, down):
    """Animate as a stroke says, from (x, y) so many pixels to the right and down."""
    try:
        told = b2m.guidance.from_strokes([[(x, y), (x + right, y + down)]], clip)
    except b2m.InputError as error:  # over nothing that moves, or out of the photo
        print(error)
        return
    directed = animator.animate(prepared, guidance=told)[0]
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    axes[0].imshow(prepared.photo)
    axes[0].arrow(x, y, right, down, color="white", width=3, length_includes_head=True)
    axes[1].imshow(b2m.motion.flow_to_color(directed.flow))
    for axis, title in zip(axes, ("the stroke", "motion field after it"), strict=True):
        axis.set_axis_off()
        axis.set_title(title)
    figure.tight_layout(pad=0.3)
    plt.show()


(x, y), (end_x, end_y) = stroke
direct(x, y, end_x - x, end_y - y)

# %% [markdown]
# The same with sliders, for other strokes; they need a running notebook. To draw with a finger or a mouse
# open the page: `make demo`.

# %%
widgets.interactive(
    direct,
    {"manual": True, "manual_name": "Animate"},
    x=widgets.IntSlider(x, 0, WIDTH - 1),
    y=widgets.IntSlider(y, 0, HEIGHT - 1),
    right=widgets.IntSlider(end_x - x, -WIDTH, WIDTH),
    down=widgets.IntSlider(end_y - y, -HEIGHT, HEIGHT),
)

# %% [markdown]
# And everything backwards, which would have left the same blur:

# %%
back = animator.animate(prepared, guidance=b2m.guidance.reverse(clip))[0]
show(
    b2m.motion.flow_to_color(clip.flow),
    b2m.motion.flow_to_color(back.flow),
    titles=("as first found", "backwards"),
)

# %% [markdown]
# ## What flow is good for
#
# The middle frame is the sharp photo. Deconvolution along the motion field, as in Argaw et al. 2021b, needs
# no network for the picture, only for the motion. And what does not go with the camera moves by itself:
# `clip.moving`, above, is that mask, `b2m.segment_motion` the call for it alone.

# %%
shake = b2m.animate(EXAMPLES / "temple-shake.jpg")[0]
along = b2m.deblur_with_flow(shake.photo, shake.flow)
show(shake.photo, shake.middle, along, titles=("photo", "middle frame", "along the motion field"))

# %% [markdown]
# ## Keep it
#
# `clip.save` writes mp4, gif, webp or a folder of PNG files, `clip.save_sheet` a contact sheet.

# %%
with tempfile.TemporaryDirectory() as folder:
    for name in ("clip.mp4", "clip.gif"):
        path = clip.save(Path(folder) / name)
        print(name, path.stat().st_size // 1000, "kB")

# %% [markdown]
# ## A blurred video to slow motion
#
# Each frame becomes several, joined without a jump; the neighbouring frames tell which way things went. A
# few blurred frames are made here, a window sliding over a photo while the shutter is open, and turned
# back into a video four times slower.

# %%
from b2m.video import read_video, write_mp4

scene = b2m.media.read_image(EXAMPLES / "cat-roll.jpg").pixels
side = min(256, min(scene.shape[:2]) - 8) // 2 * 2
step = (scene.shape[1] - side) // 33  # pixels between two instants, eight of them to an exposure


def exposure(number):
    instants = [scene[:side, step * i : step * i + side] for i in range(8 * number, 8 * number + 9)]
    return b2m.blur.encode_bytes(b2m.blur.average_bytes(np.stack(instants)))


with tempfile.TemporaryDirectory() as folder:
    write_mp4(Path(folder, "blurred.mp4"), [exposure(number) for number in range(4)], fps=10)
    slow = b2m.animate_video(Path(folder, "blurred.mp4"), Path(folder, "slow.mp4"), frames=4)
    blurred, frames = [list(read_video(path)) for path in (Path(folder, "blurred.mp4"), slow)]
print(f"{len(blurred)} frames became {len(frames)}")
show(blurred[1], *frames[4:8:3], titles=("a blurred frame", "its first", "its last"))

# %% [markdown]
# ## Where it fails
#
# - **Lights that burn out into streaks**: a sensor stops counting at white, so how bright they were is
#   lost. Where they are long, `clip.warnings` says so.
# - **What is out of focus** is as soft as what moves, and is sometimes taken for it.
# - **Blur longer than half the object**: nowhere in the photo has it left its own colour alone; every
#   pixel is a mixture with what is behind, and neither can be told.
# - **Strong blur**, 30 pixels and more, stays soft. Motion comes out right more often than detail does.
# - Which of two opposite ways a thing went is not in the photo: guidance decides.
#
# The first three, made here, so that the truth is known:

# %%
import cv2

size = 180
ground = b2m.media.read_image(EXAMPLES / "moving-apart.jpg").pixels[:size, 250 : 250 + size]
eye = b2m.animate(EXAMPLES / "cat-roll.jpg")[0].middle
down, right = np.mgrid[:size, :size]


def moved(radius, length, gain=1.0):
    """A round cut of the cat going to the right: the photo, and the sharp instant in its middle."""
    instants = []
    for place in np.linspace(-length / 2, length / 2, 33):
        light = b2m.blur.decode_bytes(ground).copy()
        disc = np.hypot(right - size / 2 - place, down - size / 2) < radius
        shift = np.float32([[1, 0, place - 66], [0, 1, -26]])
        light[disc] = gain * cv2.warpAffine(b2m.blur.decode_bytes(eye), shift, (size, size))[disc]
        instants.append(light)
    both = np.mean(instants, axis=0), instants[16]
    return [b2m.blur.encode_bytes(light.clip(0, 1).astype(np.float32)) for light in both]


def unfocused(radius):
    """The same ground with its left half out of focus; nothing moves."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2).astype(np.float32)
    soft = cv2.filter2D(b2m.blur.decode_bytes(ground), -1, disc / disc.sum())
    photo = ground.copy()
    photo[:, : size // 2] = b2m.blur.encode_bytes(soft.clip(0, 1))[:, : size // 2]
    return photo, photo


cases = {
    "for comparison, 100 px across, blur of 14 px": moved(50, 14),
    "50 px across, blur of 60 px": moved(25, 60),
    "a light, burnt out, blur of 40 px": moved(4, 40, gain=200),
    "out of focus, nothing moves": unfocused(7),
}
for name, (photo, truth) in cases.items():
    found = b2m.animate(photo)[0]
    print(f"{name}: the fastest goes {found.fastest:.0f} px; {found.warnings or 'no warning'}")
    flow = b2m.motion.flow_to_color(found.flow, max(found.fastest, 3.0))
    show(photo, truth, found.middle, flow, titles=("photo", "true middle", "ours", "motion field"))

# %% [markdown]
# The first is what it looks like when it works. What goes farther than half its own size is not seen to
# move, nor is so small a light: both clips stand still, and `clip.warnings` says that. What is out
# of focus gets a motion that it never had, with no warning.
