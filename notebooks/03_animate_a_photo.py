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
    # %pip install --quiet git+https://github.com/OWNER/b2m
    import b2m

# %% [markdown]
# ## A photo
#
# An example from the repository; put the path of yours here. Nothing is uploaded anywhere.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML

# %config InlineBackend.figure_formats = ["jpeg"]

EXAMPLES = next((p for p in (Path("../examples"), Path("examples")) if p.is_dir()), Path("."))
PHOTO = EXAMPLES / "moving-apart.jpg"


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
prepared = animator.prepare(PHOTO)  # the expensive part, once per photo
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
stroke = [(215, 215), (175, 215)]  # the figure on the left went to the left
told = b2m.guidance.from_strokes([stroke], clip)
directed = animator.animate(prepared, guidance=told)[0]
back = animator.animate(prepared, guidance=b2m.guidance.reverse(clip))[0]
show(
    b2m.motion.flow_to_color(directed.flow),
    b2m.motion.flow_to_color(back.flow),
    titles=("after the stroke", "everything backwards"),
)

# %% [markdown]
# ## Sharp photo, and sharpening along the motion
#
# The middle frame is the sharp photo. Deconvolution along the motion field needs no network for the
# picture, only for the motion.

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
# ## Where it fails
#
# - Lights that burn out into streaks: how bright they were is lost. `clip.warnings` says so.
# - Strong blur, 30 pixels and more, stays soft. Motion comes out right more often than detail does.
# - What is out of focus is sometimes taken for moving.
# - Which of two opposite ways a thing went is not in the photo: guidance decides.

# %%
for name in ("box-tilted", "coffee-pan"):
    print(name, b2m.animate(EXAMPLES / f"{name}.jpg")[0].warnings)
