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
    from importlib.metadata import distributions
    from pathlib import Path

    if "github.com/OWNER".endswith("/OWN" + "ER"):
        print("This copy does not say where b2m is published: put that account for OWNER below.")
    # PyTorch and NumPy stay as they are, made for this machine.
    kept = [d for d in distributions() if d.name in ("torch", "torchvision", "numpy")]
    Path("constraints.txt").write_text("".join(f"{d.name}=={d.version}\n" for d in kept))
    # Without a network pip says that it cannot reach github.com: switch it on for this one step.
    # "Conflicting dependencies" mean that PyTorch here is older than 2.11, which b2m needs: take a newer runtime.
    # %pip install --quiet -c constraints.txt git+https://github.com/OWNER/b2m
    import b2m

# %% [markdown]
# ## A photo
#
# The cell of settings first; then choose a photo of yours and run the cells below, or go on with an
# example. It goes to the machine on which this notebook runs, and no further.

# %%
from pathlib import Path

VIDEO = None  # or the path of a blurred video of yours, for the end of this page
DEVICE = "auto"  # "cpu" where a GPU has too little memory
RESULTS = Path("results")  # what is kept lies in this folder, beside the notebook

# %%
import ipywidgets as widgets

upload = widgets.FileUpload(accept="image/*", description="Choose a photo")
upload

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Video, display

import b2m.assets

# %config InlineBackend.figure_formats = ["jpeg"]

EXAMPLES = b2m.assets.examples()
# Older widgets, as Colab has, give a dictionary, newer ones a tuple.
chosen = list(upload.value.values() if isinstance(upload.value, dict) else upload.value)
PHOTO = bytes(chosen[-1]["content"]) if chosen else EXAMPLES / "moving-apart.jpg"


def show(*pictures, titles=()):
    """Draw pictures side by side."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(3.3 * len(pictures), 2.5), squeeze=False)
    for number, (axis, picture) in enumerate(zip(axes[0], pictures, strict=True)):
        axis.imshow(picture, cmap="gray")
        axis.set(xticks=[], yticks=[])  # the frame stays: a motion field without motion is white
        if titles:
            axis.set_title(titles[number])
    figure.tight_layout(pad=0.3)
    plt.show()


animator = b2m.BlurAnimator.from_pretrained(device=DEVICE)
try:
    prepared = animator.prepare(PHOTO)  # the expensive part, once per photo
    clip = animator.animate(prepared)[0]
except b2m.InputError as error:  # no photo, a damaged one, too small or too large
    print(f"{error}\nGoing on with the example.")
    prepared = animator.prepare(EXAMPLES / "moving-apart.jpg")
    clip = animator.animate(prepared)[0]
except (MemoryError, torch.OutOfMemoryError):
    print('Not enough memory: take a smaller photo, or DEVICE = "cpu", and run this again.')
    print("Going on with the example, on the CPU.")
    animator = b2m.BlurAnimator.from_pretrained(device="cpu")
    prepared = animator.prepare(EXAMPLES / "moving-apart.jpg")
    clip = animator.animate(prepared)[0]
if clip.warnings:
    print(*clip.warnings, sep="\n")
show(prepared.photo, clip.frames[0], clip.frames[-1], titles=("photo", "first", "last"))
# So far apart they are hard to compare; the same, cut from where most moves.
rows, columns = (np.sort(np.nonzero(clip.moving.any(axis))[0]) for axis in (1, 0))
near = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else np.s_[:, :]
if PHOTO == EXAMPLES / "moving-apart.jpg":
    near = np.s_[100:290, 90:330]
show(*(picture[near] for picture in (prepared.photo, clip.frames[0], clip.frames[-1])))

# %% [markdown]
# The clip itself, saved and played, forwards and back. `clip` alone in a cell shows it, too. Any number
# of frames comes out of the same look at the photo.

# %%
RESULTS.mkdir(exist_ok=True)
path = clip.save(RESULTS / "clip.mp4", pingpong=True, max_side=320)
Video(path, embed=True, html_attributes="autoplay loop muted playsinline controls")

# %% [markdown]
# ## What moved, and how far
#
# The motion field says for each pixel how far it went during the exposure. Hue is the direction, as the wheel
# on the right tells from its middle outwards; white is still. In guidance black is.

# %%
show(
    b2m.motion.flow_to_color(clip.flow),
    b2m.guidance.to_color(clip.guidance),
    clip.moving,
    b2m.motion.color_wheel(200),
    titles=("motion field", "guidance: four quadrants", "moves by itself", "directions"),
)
print(f"the fastest goes {clip.fastest:.0f} px in the exposure")

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
# most plausible choices, best first, with `clip.score`, in dB.

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
        hint = b2m.guidance.from_strokes([[(x, y), (x + right, y + down)]], clip)
    except b2m.InputError as error:  # over nothing that moves, or out of the photo
        print(error)
        return
    directed = animator.animate(prepared, guidance=hint)[0]
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    axes[0].imshow(prepared.photo)
    axes[0].arrow(x, y, right, down, color="white", width=3, length_includes_head=True)
    axes[1].imshow(b2m.motion.flow_to_color(directed.flow))
    for axis, title in zip(axes, ("the stroke", "motion field after it"), strict=True):
        axis.set(xticks=[], yticks=[], title=title)
    figure.tight_layout(pad=0.3)
    plt.show()


(x, y), (end_x, end_y) = stroke
direct(x, y, end_x - x, end_y - y)

# %% [markdown]
# The same with sliders, for other strokes; they need a running notebook. One can draw with a finger or a
# mouse on b2m's page, which `b2m demo` (`pip install "b2m[demo]"`) or `make demo` serves on one's own
# machine; in Colab it cannot be opened, and the sliders are what there is.

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
# The middle frame is the photo with less blur: sharper here, though not as if nothing had moved.
# Deconvolution along the motion field, as in Argaw et al. 2021b, needs no network for the picture, only
# for the motion. It brings out more, the eyes for one, and pays with ripples beside strong edges and
# dark specks in hair and collar, where the field is a little wrong. And what does not go with the camera moves
# by itself: `clip.moving`, above, is that mask, `b2m.segment_motion` the call for it alone.

# %%
shake = b2m.animate(EXAMPLES / "portrait-shake.jpg", device=DEVICE)[0]
along = b2m.deblur_with_flow(shake.photo, shake.flow)
face = np.s_[40:240, 60:330]
show(
    *(picture[face] for picture in (shake.photo, shake.middle, along)),
    titles=("photo", "middle frame", "along the motion field"),
)

# %% [markdown]
# ## Keep it
#
# `clip.save` writes mp4, gif, webp or a folder of PNG files, `clip.save_sheet` a contact sheet.

# %%
clip.save(RESULTS / "clip.mp4")
clip.save(RESULTS / "clip.gif")
clip.save_sheet(RESULTS / "sheet.png")
for path in sorted(RESULTS.iterdir()):
    print(path.as_posix(), path.stat().st_size // 1000, "kB")

# %% [markdown]
# Colab's machine is emptied when it is given back: this downloads the clip from there.

# %%
try:
    from google.colab import files
except ImportError:
    print(f"Not in Colab: the files lie in the folder '{RESULTS}' beside this notebook.")
else:
    files.download(str(RESULTS / "clip.mp4"))

# %% [markdown]
# ## A blurred video to slow motion
#
# Each frame becomes several, joined without a jump; the sign of the motion comes from the neighbouring frames.
# Name a video of yours as `VIDEO` in the settings; on a CPU begin with a second or two of it. Without one
# a few blurred frames are made here, a window sliding over a photo while the shutter is open, and
# turned into a video six times slower.

# %%
from b2m.media.video import read_video, write_mp4

RESULTS.mkdir(exist_ok=True)
source = VIDEO
if source is None:
    cat = b2m.deblur(EXAMPLES / "cat-roll.jpg", device=DEVICE)

    def exposure(number):
        """Nine instants, two pixels from one to the next."""
        instants = [cat[:256, 2 * i : 2 * i + 320] for i in range(8 * number, 8 * number + 9)]
        return b2m.blur.encode_bytes(b2m.blur.average_bytes(np.stack(instants)))

    source = RESULTS / "blurred.mp4"
    write_mp4(source, [exposure(number) for number in range(4)], fps=8)
try:
    slow = b2m.animate_video(source, RESULTS / "slow.mp4", frames=6, device=DEVICE)
except b2m.InputError as error:  # no video, a damaged one, a single frame
    print(f"No slow motion: {error}")
else:
    blurred = [frame for frame, _ in zip(read_video(source), range(2), strict=False)]
    frames = [frame for frame, _ in zip(read_video(slow), range(12), strict=False)]
    show(blurred[1], frames[6], frames[11], titles=("second frame", "its first", "its last"))
    print(slow.as_posix(), slow.stat().st_size // 1000, "kB")
    if slow.stat().st_size < 2_000_000:
        display(Video(slow, embed=True, html_attributes="autoplay loop muted playsinline controls"))

# %% [markdown]
# ## Where it fails
#
# - **Blur longer than half the object**: nowhere in the photo has it left its own colour alone; every
#   pixel is a mixture with what is behind, and neither can be told.
# - **Lights that burn out into streaks**: a sensor stops counting at white, so how bright they were is
#   lost, and frames there are a guess.
# - **What is out of focus** is as soft as what moves. Where it is very soft it is taken for that.
# - **Strong blur**, 30 pixels and more, stays soft. Motion comes out right more often than detail does.
# - Which of two opposite ways a thing went is not in the photo: guidance decides.
#
# The first three, made here on purpose, so that the truth is known: these are meant to go wrong.

# %%
import cv2

size = 180
hills = b2m.media.read_image(EXAMPLES / "moving-apart.jpg").pixels[:size, 240:460]
ground = hills[:, 10:190]
eye = b2m.animate(EXAMPLES / "cat-roll.jpg", device=DEVICE)[0].middle
down, right = np.mgrid[:size, :size]


def exposed(instants):
    """The photo that sees all these instants, and the sharp one in their middle."""
    both = np.mean(instants, axis=0), instants[len(instants) // 2]
    return [b2m.blur.encode_bytes(light.clip(0, 1).astype(np.float32)) for light in both]


def moved(radius, length):
    """A round cut of the cat going to the right."""
    instants = []
    for place in np.linspace(-length / 2, length / 2, 65):
        light = b2m.blur.decode_bytes(ground).copy()
        disc = np.hypot(right - size / 2 - place, down - size / 2) < radius
        shift = np.float32([[1, 0, place - 66], [0, 1, -26]])
        light[disc] = cv2.warpAffine(b2m.blur.decode_bytes(eye), shift, (size, size))[disc]
        instants.append(light)
    return exposed(instants)


def lit(places, length):
    """Lights far brighter than white, and a camera that moves to the left past all there is."""
    light = b2m.blur.decode_bytes(hills).copy()
    for place in places:
        cv2.circle(light, place, 2, (60, 60, 50), -1)
    return exposed([light[:, 20 - p : 200 - p] for p in range(-length // 2, length // 2 + 1)])


def unfocused(radius):
    """The same ground with its left half out of focus; nothing moves."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2).astype(np.float32)
    soft = cv2.filter2D(b2m.blur.decode_bytes(ground), -1, disc / disc.sum())
    photo = ground.copy()
    photo[:, : size // 2] = b2m.blur.encode_bytes(soft.clip(0, 1))[:, : size // 2]
    return photo, ground


cases = {
    "for comparison, 100 px across, blur of 14 px": moved(50, 14),
    "50 px across, blur of 30 px": moved(25, 30),
    "50 px across, blur of 60 px": moved(25, 60),
    "lights, burnt out, blur of 14 px": lit([(50, 95), (110, 110), (160, 140), (70, 150)], 14),
    "out of focus, nothing moves": unfocused(7),
}
for name, (photo, truth) in cases.items():
    found = b2m.animate(photo, device=DEVICE)[0]
    print(f"{name}: the fastest goes {found.fastest:.0f} px;", *found.warnings or ["no warning"])
    flow = b2m.motion.flow_to_color(found.flow, max(found.fastest, 3.0))
    show(photo, truth, found.middle, flow, titles=("photo", "true middle", "ours", "motion field"))

# %% [markdown]
# The first is what it looks like when it works. What goes farther than about half its own size is found far
# too slow, **without a warning**: 6 px in place of 30. Farther than its whole size, it is not seen to move
# at all, and `clip.warnings` says that the clip is still. Lights give a warning where the motion around them
# is found, as here, or where at least five long and like streaks lie side by side; a single light before
# what stands still gives none but that nothing moves. What is out of focus gets a motion that
# it never had, with no warning; half as soft (`unfocused(4)`), it gets none.

# %% [markdown]
# ## If something goes wrong
#
# - **No network**: only the installation needs it. b2m and its weights need none.
# - **Out of memory**: take a smaller photo, or set `DEVICE = "cpu"` in the settings; restart the kernel to free
#   what the GPU holds.
# - **Interrupted**: run the cell again, and those below it. A file appears in `results` whole or not at all.
# - **Your photo is not taken**: the sentence below the cell says why; the page goes on with the example.
