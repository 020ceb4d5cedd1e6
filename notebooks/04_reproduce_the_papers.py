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
# # Reproduce the papers
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/b2m/blob/main/notebooks/04_reproduce_the_papers.ipynb)
#
# b2m holds the models, losses and protocols of three papers: *Animation from Blur* (Zhong et al. 2022),
# *Restoration of Video Frames from a Single Blurred Image* (Argaw et al. 2021a) and *Optical Flow
# Estimation from a Single Motion-blurred Image* (Argaw et al. 2021b). Their data is not free to pass on
# and their budgets are those of GPUs, so that their numbers cannot come out again here; what can is the
# **order**: who is better than whom, on open data, with one equal and small budget for all. Each table
# stands beside the paper's own figures.

# %%
# In Colab, or wherever b2m is not installed yet; OWNER stands for the account that publishes it.
try:
    import b2m
except ImportError:
    # %pip install --quiet "b2m[train] @ git+https://github.com/OWNER/b2m"
    import b2m

# %% [markdown]
# How many photos the cells below measure anew. The tables of the repository were computed with 60 of each
# kind and take minutes each; 2 are enough to see the machinery work.

# %%
BUDGET = 2

# %% [markdown]
# ## Why one photo has many answers
#
# Blur does not say which way things went: the film run backwards leaves the same photo. A network that is
# asked for *the* first frame is trained on both answers, and the mean of two motions is no motion: it is a
# double exposure. This is why the decomposer of Zhong 2022 is told the direction by guidance, why Jin's
# pairs have a loss that asks for no order, and why everything without guidance is judged in the better of
# its two orders.

# %%
import contextlib
import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image as pillow
from IPython.display import Image, Markdown, display

from b2m.data.scenes import SceneConfig, render
from b2m.data.textures import load_textures
from b2m.evaluate import evaluate
from b2m.metrics import psnr

# %config InlineBackend.figure_formats = ["jpeg"]

textures = load_textures(None, "test"), load_textures(None, "test", cutouts=True)
scene = render(*textures, SceneConfig(size=160, blur=(18, 20), kind="movers"), 1, seed=7)
frames = (scene.frames[0].permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
photo = (scene.blur[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
mean = ((frames.astype(int) + frames[::-1]) // 2).astype(np.uint8)  # of both answers

pictures = {
    "the photo": photo,
    "first frame": frames[0],
    "first frame, had it gone backwards": frames[-1],
    f"their mean ({psnr(mean[0], frames[0]):.1f} dB)": mean[0],
    "middle frame: the same both ways": frames[3],
}
figure, axes = plt.subplots(1, 5, figsize=(15, 3.4))
for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture)
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## The tables
#
# Those that the repository holds, each with what the paper found and, in the last column, the paper's own
# figure. "Not run" stands where a model has not been trained on this budget yet: `b2m train RECIPE`, then
# `b2m train RECIPE --decay 6000`, then `b2m evaluate --table NAME`, or `make tables` for all.

# %%
RESULTS = next(
    (path for path in (Path("../benchmarks/results"), Path("benchmarks/results")) if path.is_dir()),
    Path("none"),
)
DIFFERENCES = (
    "**Where ours and the paper's differ**: data (rendered scenes of open photos and real clips of "
    "no high-speed camera, not GenBlur, B-AIST++, GoPro, panoramas or NfS), size (compact models, "
    "a few GMAC instead of hundreds) and budget (30,000 samples of 96x96 instead of hundreds of "
    "epochs)."
)

OURS = {
    "2022-T1": "more samples are better, as in the paper, but by less where things move (0.5 dB from "
    "one sample of the decomposer to five) than where the camera does (1.2 dB): here a wrong guess "
    "costs the whole photo in the one case and a few things in the other. Jin's sequence finds next "
    "to no motion on this budget. Where things move a single sample of the decomposer is better by "
    "0.2 dB, as in the paper by 3 dB; where the camera moves it is worse by 0.2 dB in the order in "
    "which it is given, as a still clip is never the wrong way round, and better by 0.8 dB in the "
    "better order. The animator on the same budget is as good where things move and a quarter of a "
    "decibel better where the camera does, at half the arithmetic.",
    "2022-T2": "guidance from the neighbouring frames is above the best of five samples on both "
    "clips, for the decomposer and for the animator, as in the paper.",
    "2022-T3": "dilated guidance does next to no harm, eroded guidance does where things move, "
    "random guidance is worse than the photo as it is, and with guidance training is ahead from the "
    "beginning: as in Fig. 8 and 9. Two stages are not better than one of equal size: in 3,750 "
    "steps there is nothing yet that a second one could refine (one seed; both are within 0.05 dB).",
    "2021a-T1": "on rotational blur the restorer is better than Jin's sequence by 1.3 dB, in the paper by "
    "1.65 dB, at its ends by 2.1 dB; the longer the blur, the worse, as in Fig. 6, but for the few longest.",
    "2021a-T2": "the restorer is above Jin's sequence on every set, by 0.2 to 0.6 dB, and above the "
    "photo by 0.1 dB where things move and by 0.3 to 0.4 dB elsewhere, its first and last frame by "
    "more than its middle one: no error spreads from the middle to the ends, as in Fig. 7. On real "
    "clips the differences are as on scenes. The animator gains two and a half to three times as much of the "
    "same samples, but for the clip of a person, in which it finds no motion on this budget.",
    "2021a-T3": "the restorer's middle frame is within reach of a network made for one sharp image, "
    "as in the paper: 0.5 dB below NAFNet of the same budget where things move, 0.1 dB where the "
    "camera does, level with it on real clips; ahead of Jin's sequence by 0.8 dB where things move "
    "and behind it by 0.2 dB where the camera does.",
    "2021a-T4": "what was trained on rotation alone works on video, as in the paper, and better than "
    "what was trained on scenes of all kinds: by 0.6 and 0.2 dB, and 1.3 and 0.5 dB above Jin's "
    "sequence. It has three frames to find instead of seven, and in a turning photo everything "
    "moves, so that it learns more of the same few samples.",
    "2021b-T1": "flow from the photo itself has a smaller error than flow between restored frames where "
    "the camera moves or turns, as in the paper: by 4 px on scenes, by 0.3 and 0.6 px on the clip of a "
    "moving camera after fine-tuning. Fine-tuning on video helps on both clips, as in the paper, and "
    "costs 1 px on scenes. Where little moves, as in front of a still camera, no motion at all has "
    "the smallest error or nearly so: on this budget small things are not seen.",
    "2021b-T2": "sharpened along the animator's flow photos are above the blurred ones, by 1.6 and 1.9 "
    "dB, and below those sharpened along the true flow, as in the paper. BlurFlowNet's flow is not "
    "good enough for that on this budget: lines that are wrong by 7 and 10 px leave ripples. 40 photos "
    "of each set, where the paper has 300.",
}


def show(name):
    """A table of the repository, with what the paper found, and its plots."""
    path = RESULTS / f"{name}.md"
    if not path.is_file():
        print(f"{name} has not been computed: b2m evaluate --table {name}")
        return
    found = f"\n\n**What came out**: {OURS[name]}" if name in OURS else ""
    display(Markdown(f"{path.read_text(encoding='utf-8')}{found}\n\n{DIFFERENCES}"))
    for picture in sorted(RESULTS.glob(f"{name}*.png")):
        few_colours = io.BytesIO()  # which keep the notebook small
        pillow.open(picture).convert("RGB").quantize(32).save(few_colours, "PNG", optimize=True)
        display(Image(few_colours.getvalue(), width=760))


for name in ("2022-T1", "2022-T2", "2022-T3", "2022-directions"):
    show(name)

# %%
for name in ("2021a-T1", "2021a-T2", "2021a-T3", "2021a-T4", "2021a-T5"):
    show(name)

# %%
for name in ("2021b-T1", "2021b-T2", "2021b-T3", "segmentation"):
    show(name)

# %% [markdown]
# ## One of them, here and now
#
# On made-up textures and `BUDGET` photos of each kind: far too few for conclusions, the same code. With the
# open pack (`b2m data fetch`) name its folders with `photos=`, `cutouts=` and `clips=`.

# %%
with contextlib.redirect_stdout(io.StringIO()):  # the table is shown below
    path = evaluate("2022-T1", samples=BUDGET, output=tempfile.mkdtemp())
display(Markdown(path.with_suffix(".md").read_text(encoding="utf-8")))
Image(str(path.with_suffix(".png")), width=760)

# %% [markdown]
# ## What flow is good for
#
# Argaw 2021b deblurs along the flow it finds, by a known deconvolution, and segments what moves. Both are one
# call, here along the animator's flow.

# %%
EXAMPLES = next((p for p in (Path("../examples"), Path("examples")) if p.is_dir()), Path("."))
PHOTO = EXAMPLES / "temple-shake.jpg"
flow = b2m.flow(PHOTO)
sharp = b2m.deblur_with_flow(PHOTO, flow)

figure, axes = plt.subplots(1, 3, figsize=(12, 4))
for axis, (title, picture) in zip(
    axes,
    {
        "photo": b2m.media.read_image(PHOTO).pixels,
        "flow": b2m.motion.flow_to_color(flow),
        "deconvolved along it": sharp,
    }.items(),
    strict=True,
):
    axis.imshow(picture)
    axis.set_title(title)
    axis.set_axis_off()
figure.tight_layout()
plt.show()
