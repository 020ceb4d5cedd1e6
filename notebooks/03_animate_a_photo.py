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
# A motion-blurred photo is the average of everything that happened while its shutter was open. b2m
# turns it into a short sharp clip. It needs no GPU and no network: the weights come with the package.

# %%
# Installs b2m where it is missing, as in Colab. OWNER is the GitHub account that publishes b2m.
try:
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
    # %pip install --quiet -c constraints.txt git+https://github.com/OWNER/b2m
    import b2m

# %%
import b2m.assets
from b2m.visualize.notebook import show

EXAMPLES = b2m.assets.examples()
example = b2m.animate(EXAMPLES / "moving-apart.jpg")[0]
show(
    *(example.photo, example.frames[0], example.frames[-1]),
    titles=("blurred photo", "first frame", "last frame"),
    side=280,
    alt="A photo of two blurred things before mountains, and the first and last frame of its clip.",
)

# %% [markdown]
# ## A photo of your own
#
# Run the cell of settings. Then choose a photo and run the cells below it; without one the example is
# used. The photo is sent to the machine on which this notebook runs, and nowhere else.

# %%
from pathlib import Path

VIDEO = None  # or the path of a blurred video of yours, for the end of this notebook
DEVICE = "auto"  # "cpu" if a GPU has too little memory
RESULTS = Path("results")  # the folder for results, beside the notebook

# %%
import ipywidgets as widgets

upload = widgets.FileUpload(accept="image/*", description="Choose a photo")
upload

# %%
import cv2
import numpy as np
import torch
from IPython.display import Video, display

# Older versions of ipywidgets, as in Colab, give a dictionary, newer ones a tuple.
chosen = list(upload.value.values() if isinstance(upload.value, dict) else upload.value)
PHOTO = bytes(chosen[-1]["content"]) if chosen else EXAMPLES / "moving-apart.jpg"

animator = b2m.BlurAnimator.from_pretrained(device=DEVICE)
try:
    prepared = animator.prepare(PHOTO)  # the expensive part, once per photo
    clip = animator.animate(prepared)[0]
except b2m.InputError as error:  # no photo, a damaged one, too small or too large
    print(f"{error}\nUsing the example instead.")
    prepared = animator.prepare(EXAMPLES / "moving-apart.jpg")
    clip = animator.animate(prepared)[0]
except (MemoryError, torch.OutOfMemoryError):
    print('Not enough memory: use a smaller photo, or DEVICE = "cpu", and run this cell again.')
    print("Using the example on the CPU instead.")
    animator = b2m.BlurAnimator.from_pretrained(device="cpu")
    prepared = animator.prepare(EXAMPLES / "moving-apart.jpg")
    clip = animator.animate(prepared)[0]
if clip.warnings:
    print(*clip.warnings, sep="\n")
# The part of the photo in which something moves.
rows, columns = (np.sort(np.nonzero(clip.moving.any(axis))[0]) for axis in (1, 0))
near = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else np.s_[:, :]
if PHOTO == EXAMPLES / "moving-apart.jpg":
    near = np.s_[100:290, 90:330]
show(
    *(picture[near] for picture in (prepared.photo, clip.frames[0], clip.frames[-1])),
    titles=("photo", "first frame", "last frame"),
    alt="Detail of the photo, of the first and of the last frame: what moves is sharper in the frames.",
)

# %% [markdown]
# The clip, saved and played forwards and backwards. A cell that ends in `clip` shows it, too. Any number
# of frames can be rendered from the same prepared photo.

# %%
RESULTS.mkdir(exist_ok=True)
PLAYED = 'autoplay loop muted playsinline controls aria-label="The clip, in a loop"'
path = clip.save(RESULTS / "clip.mp4", pingpong=True, max_side=320)
Video(path, embed=True, html_attributes=PLAYED)

# %% [markdown]
# ## Motion field, guidance, moving objects
#
# The motion field gives for each pixel how far it moved during the exposure, in pixels. Its colour is the
# direction, as the colour wheel shows from its centre outwards; white is still. Guidance is the motion field
# quantized to four quadrants; black is still.

# %%
show(
    b2m.motion.flow_to_color(clip.flow),
    b2m.guidance.to_color(clip.guidance),
    clip.moving,
    titles=("motion field", "guidance: four quadrants", "moving objects"),
    wheel=True,
    alt="The motion field in colours, its guidance, the mask of moving objects, and the colour wheel.",
)
print(f"longest motion: {clip.fastest:.0f} px during the exposure")

# %% [markdown]
# ## Re-blur check
#
# The average of the frames in linear light must be the photo. `reblur_psnr` measures how close it is;
# `reblur_psnr_raw` measures the same for the output of the network, before the frames are corrected to fit.
# A clip that stands still passes this check, too: it says nothing about how sharp the frames are.

# %%
again = b2m.blur.linear_to_srgb8(
    np.mean([b2m.blur.srgb8_to_linear(f) for f in clip.frames], axis=0)
)
difference = np.abs(again.astype(int) - prepared.photo).max(axis=-1)
show(
    prepared.photo,
    again,
    titles=("photo", "average of the frames"),
    side=280,
    alt="The photo and the average of the frames of the clip: they look the same.",
)
print(f"{clip.reblur_psnr:.0f} dB; network alone {clip.reblur_psnr_raw:.0f} dB")
print(f"largest difference: {difference.max()} of 255")

# %% [markdown]
# ## Possible motions
#
# Blur looks the same forwards and backwards, and each object may have moved either way. These are the
# most plausible combinations, most likely first, with `clip.score` in dB.

# %%
clips = animator.animate(prepared, motions=4)
show(
    *(b2m.motion.flow_to_color(c.flow) for c in clips),
    titles=[f"option {number}: {c.score:.2f} dB" for number, c in enumerate(clips, 1)],
    wheel=True,
    side=240,
    alt="The motion fields of the possible motions, which differ in the directions of the objects.",
)

# %% [markdown]
# ## Edit the motion
#
# A stroke sets the direction of the whole object under it. Points are (x, y) in pixels; the object
# moves from the first point towards the last.

# %%
WIDTH, HEIGHT = prepared.photo.shape[1::-1]
# In the example the object on the left is sent to the left; in other photos what is in the middle.
stroke = [(WIDTH // 2, HEIGHT // 2), (WIDTH // 4, HEIGHT // 2)]
if not chosen:
    stroke = [(215, 215), (175, 215)]


def direct(x, y, right, down):
    """Animate with a stroke that begins at (x, y) and goes so many pixels to the right and down."""
    try:
        hint = b2m.guidance.from_strokes([[(x, y), (x + right, y + down)]], clip)
    except b2m.InputError as error:  # nothing moves there, or the stroke leaves the photo
        print(error)
        return
    directed = animator.animate(prepared, guidance=hint)[0]
    drawn = prepared.photo.copy()
    cv2.arrowedLine(drawn, (x, y), (x + right, y + down), (255, 255, 255), 4, tipLength=0.4)
    show(
        drawn,
        b2m.motion.flow_to_color(directed.flow),
        titles=("the stroke", "motion field after it"),
        wheel=True,
        alt="The photo with the stroke as an arrow, and the motion field in which its object follows it.",
    )


(x, y), (end_x, end_y) = stroke
direct(x, y, end_x - x, end_y - y)

# %% [markdown]
# The same with sliders, for other strokes; they need a running notebook. On the page of b2m strokes are drawn
# with a finger or a mouse: `b2m demo` (`pip install "b2m[demo]"`) or `make demo` serves it on your own
# machine. In Colab the page cannot be opened; use the sliders there.

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
# `b2m.guidance.reverse` reverses everything, which leaves the same blur:

# %%
back = animator.animate(prepared, guidance=b2m.guidance.reverse(clip))[0]
show(
    b2m.motion.flow_to_color(clip.flow),
    b2m.motion.flow_to_color(back.flow),
    titles=("most likely", "reversed"),
    wheel=True,
    alt="The motion field of the clip and that of the reversed clip, in the opposite colours.",
)

# %% [markdown]
# ## Deblur
#
# The middle frame is the photo with less blur, though not as if nothing had moved. Deconvolution along the
# motion field, as in Argaw et al. 2021b, uses the network only for the motion, not for the picture. It
# recovers more detail, such as the eyes, but adds ripples beside strong edges, and dark specks in hair and
# collar where the motion field is slightly wrong. What does not move with the camera is a moving object:
# `clip.moving` above is that mask, and `b2m.segment_motion` computes it alone.

# %%
shake = b2m.animate(EXAMPLES / "portrait-shake.jpg", device=DEVICE)[0]
along = b2m.deblur_with_flow(shake.photo, shake.flow)
face = np.s_[40:240, 60:330]
show(
    *(picture[face] for picture in (shake.photo, shake.middle, along)),
    titles=("photo", "middle frame", "deconvolved along the motion field"),
    alt="A face blurred by hand shake, sharper in the middle frame, sharpest but with ripples deconvolved.",
)

# %% [markdown]
# ## Save
#
# `clip.save` writes MP4, GIF, WebP or a folder of PNG files, `clip.save_sheet` a contact sheet.

# %%
clip.save(RESULTS / "clip.mp4")
clip.save(RESULTS / "clip.gif")
clip.save_sheet(RESULTS / "sheet.png")
for path in sorted(RESULTS.iterdir()):
    print(path.as_posix(), path.stat().st_size // 1000, "kB")

# %% [markdown]
# Colab deletes all files when its machine is released. This cell downloads the clip from there.

# %%
try:
    from google.colab import files
except ImportError:
    print(f"Not in Colab: the files are in the folder '{RESULTS}' beside this notebook.")
else:
    files.download(str(RESULTS / "clip.mp4"))

# %% [markdown]
# ## Slow motion from a blurred video
#
# Each frame becomes several, joined without a jump; the sign of the motion is taken from the neighbouring
# frames. Set `VIDEO` in the settings to the path of your video; on a CPU start with one or two seconds of it.
# Without one a few blurred frames are made here, a window that slides over a photo while the shutter is
# open, and become a video six times slower.

# %%
from b2m.media.video import read_video, write_mp4

RESULTS.mkdir(exist_ok=True)
source = VIDEO
if source is None:
    cat = b2m.deblur(EXAMPLES / "cat-roll.jpg", device=DEVICE)

    def exposure(number):
        """The average of nine instants, two pixels apart."""
        instants = [cat[:256, 2 * i : 2 * i + 320] for i in range(8 * number, 8 * number + 9)]
        return b2m.blur.linear_to_srgb8(b2m.blur.average_frames(np.stack(instants)))

    source = RESULTS / "blurred.mp4"
    write_mp4(source, [exposure(number) for number in range(4)], fps=8)
try:
    slow = b2m.animate_video(source, RESULTS / "slow.mp4", frames=6, device=DEVICE)
except b2m.InputError as error:  # no video, a damaged one, a single frame
    print(f"No slow motion: {error}")
else:
    blurred = [frame for frame, _ in zip(read_video(source), range(2), strict=False)]
    frames = [frame for frame, _ in zip(read_video(slow), range(12), strict=False)]
    show(
        *(blurred[1], frames[6], frames[11]),
        titles=("second frame of the video", "first frame made of it", "last frame made of it"),
        alt="A blurred frame of a video, and the first and last of the sharper frames made of it.",
    )
    print(slow.as_posix(), slow.stat().st_size // 1000, "kB")
    if slow.stat().st_size < 2_000_000:
        display(Video(slow, embed=True, html_attributes=PLAYED))

# %% [markdown]
# ## Limitations
#
# - **Blur longer than half of the object**: nowhere in the photo is its own colour left alone. Every
#   pixel is a mixture with the background, and neither can be recovered.
# - **Overexposed light streaks**: a sensor saturates at white, so the brightness of the lights is lost, and
#   the frames there are a guess.
# - **Out-of-focus parts** are as soft as moving ones. Where they are very soft they are taken for moving.
# - **Strong blur**, 30 pixels and more, stays soft. The motion is right more often than the detail.
# - The photo does not tell which of two opposite ways an object moved; guidance decides.
#
# The first three are made here **on purpose**, so that the truth is known. The first row works; the other four
# are deliberately hard, and a failure there is a deliberate failure.

# %%
size = 180
hills = b2m.media.read_image(EXAMPLES / "moving-apart.jpg").pixels[:size, 240:460]
ground = hills[:, 10:190]
eye = b2m.animate(EXAMPLES / "cat-roll.jpg", device=DEVICE)[0].middle
down, right = np.mgrid[:size, :size]


def exposed(instants):
    """The photo, which is the average of all instants, and the sharp instant in the middle."""
    both = np.mean(instants, axis=0), instants[len(instants) // 2]
    return [b2m.blur.linear_to_srgb8(light.clip(0, 1).astype(np.float32)) for light in both]


def moved(radius, length):
    """A round piece of the cat that moves to the right."""
    instants = []
    for place in np.linspace(-length / 2, length / 2, 65):
        light = b2m.blur.srgb8_to_linear(ground).copy()
        disc = np.hypot(right - size / 2 - place, down - size / 2) < radius
        shift = np.float32([[1, 0, place - 66], [0, 1, -26]])
        light[disc] = cv2.warpAffine(b2m.blur.srgb8_to_linear(eye), shift, (size, size))[disc]
        instants.append(light)
    return exposed(instants)


def lit(places, length):
    """Lights far brighter than white, and a camera that pans to the left."""
    light = b2m.blur.srgb8_to_linear(hills).copy()
    for place in places:
        cv2.circle(light, place, 2, (60, 60, 50), -1)
    return exposed([light[:, 20 - p : 200 - p] for p in range(-length // 2, length // 2 + 1)])


def unfocused(radius):
    """The background with its left half out of focus; nothing moves."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2).astype(np.float32)
    soft = cv2.filter2D(b2m.blur.srgb8_to_linear(ground), -1, disc / disc.sum())
    photo = ground.copy()
    photo[:, : size // 2] = b2m.blur.linear_to_srgb8(soft.clip(0, 1))[:, : size // 2]
    return photo, ground


cases = {
    "For comparison, one that works: 100 px across, blur of 14 px": moved(50, 14),
    "Deliberately hard: 50 px across, blur of 30 px": moved(25, 30),
    "Deliberately hard: 50 px across, blur of 60 px": moved(25, 60),
    "Deliberately hard: overexposed lights, blur of 14 px": lit(
        [(50, 95), (110, 110), (160, 140), (70, 150)], 14
    ),
    "Deliberately hard: out of focus, nothing moves": unfocused(7),
}
for name, (photo, truth) in cases.items():
    found = b2m.animate(photo, device=DEVICE)[0]
    print(f"{name}; longest motion {found.fastest:.0f} px;", *found.warnings or ["no warning"])
    show(
        *(photo, truth, found.middle),
        b2m.motion.flow_to_color(found.flow, max(found.fastest, 3.0)),
        titles=("photo", "true middle frame", "middle frame", "motion field"),
        wheel=True,
        side=180,
        alt=f"{name}. Blurred photo, true middle frame, predicted middle frame, motion field, colour wheel.",
    )

# %% [markdown]
# Compare the longest motion of each line with the blur that was made. What moves farther than about half of its
# own size may be found too slow or keep its blur, often **without a warning**. Farther than its whole size, it is
# usually not found to move at all, and `clip.warnings` says that the clip is still. Overexposed lights give a
# warning where the motion around them is found; a single light in front of something still gives none, only
# that nothing moves. A part that is out of focus may get a motion that it never had, without a warning.

# %% [markdown]
# ## If something goes wrong
#
# - **No network**: only the installation needs it. b2m and its weights need none.
# - **Out of memory**: use a smaller photo, or set `DEVICE = "cpu"` in the settings; restart the kernel to free
#   the memory of the GPU.
# - **Interrupted**: run the cell again, and those below it. A file in `results` is always complete.
# - **Your photo is refused**: the sentence below the cell says why; the example is used instead.
