"""Build the page: `python demo/web/build.py [--weights FOLDER] [--output FOLDER]`, or `make web`.

Writes beside the page, into `assets/`, what is not kept in the repository: the network as ONNX,
ONNX Runtime Web, example photos, and a list of it all for the service worker. Then any server of
files can serve the folder.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from b2m.assets import cache_folder, examples
from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.guidance import STILL_THRESHOLD
from b2m.hub import find_weights
from b2m.inference import diagnostics
from b2m.models import MotionAnimator
from b2m.models.animator import Features
from b2m.models.layers import Pointwise

HERE = Path(__file__).parent
RUNTIME = "onnxruntime-web"
VERSION = "1.30.0"
FILES = {  # of the npm package, with their SHA-256
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
    "ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    "ort-wasm-simd-threaded.asyncify.wasm": (
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
    ),
}
PAGE = ("index.html", "style.css", *sorted({path.name for path in HERE.glob("*.js")} - {"sw.js"}))
EXAMPLES = ("moving-apart.jpg", "box-carried.jpg", "temple-shake.jpg", "cat-roll.jpg")
LAZY = ("webgpu", "asyncify")  # fetched when a graphics processor is to be used
_OPSET = 20
_MIN_HALF = 64  # values; smaller tensors stay in single precision


class Extract(nn.Module):
    """`MotionAnimator.features` with plain tensors for its result."""

    def __init__(self, model: MotionAnimator) -> None:
        super().__init__()
        self.model = model

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 3, H, W), sides multiples of the stride, to coarse and fine `Features`."""
        features = self.model.features(photo)
        return features.coarse, features.fine


class Decode(Extract):
    """`MotionAnimator.decode` with plain tensors."""

    def forward(  # type: ignore[override]
        self, photo: Tensor, coarse: Tensor, fine: Tensor, guidance: Tensor, given: Tensor
    ) -> tuple[Tensor, ...]:
        """The photo, its features, and guidance (1, 2, H, W), to the maps of an `Encoding`.

        Guidance counts where `given`, (1,), is 1, and not where it is 0.
        """
        return tuple(self.model.decode(Features(photo, coarse, fine), guidance, given))


def _plain(model: nn.Module) -> None:
    """Make convolutions of what are 1x1 convolutions: the runtime computes these faster."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, Pointwise):
                setattr(module, name, _convolution(child))


def _convolution(linear: Pointwise) -> nn.Conv2d:
    made = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None)
    made.weight.data = linear.weight.data[:, :, None, None]
    if linear.bias is not None:
        made.bias = linear.bias
    return made


def export(model: MotionAnimator, folder: Path, stride: int) -> dict[str, int]:
    """Write a network as ONNX, for photos of any size that is a multiple of its stride.

    `features.onnx` is what guidance does not reach, computed once for a photo; `decode.onnx` is
    the rest. Weights are stored in half precision and computed with in single precision.

    Args:
        model: in evaluation mode, on the CPU; it is left changed, though it computes the same.
        folder: of the two files.
        stride: of the network, pixels.

    Returns:
        The names of the maps, as inputs of an `Encoding` are named, and the channels of each.
    """
    photo = torch.rand(1, 3, 4 * stride, 6 * stride)
    guidance = torch.ones(1, 2, *photo.shape[-2:])
    _plain(model)
    with torch.inference_mode():
        features = model.features(photo)
        encoding = model.decode(features)
    _write(folder / "features.onnx", Extract(model), {"photo": photo}, Features._fields[1:], stride)
    inputs = {**features._asdict(), "guidance": guidance, "given": torch.ones(1)}
    _write(folder / "decode.onnx", Decode(model), inputs, encoding._fields, stride)
    return {name: part.shape[1] for name, part in zip(encoding._fields, encoding, strict=True)}


def _write(
    path: Path,
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    stride: int,
) -> None:
    """Export a module whose inputs, by name, are maps of any size, but for those of one number."""
    import onnx

    sides = [torch.export.Dim(name, min=2, max=400) for name in ("height", "width")]
    reach = next(iter(inputs.values())).shape[-1]

    def dimensions(part: Tensor) -> dict[int, Any]:
        if part.ndim < 4:
            return {}
        step = stride * part.shape[-1] // reach  # a side is so many times as long as the coarsest
        return {axis: step * side for axis, side in zip((2, 3), sides, strict=True)}

    program = torch.onnx.export(
        module.eval(),
        tuple(part.clone() for part in inputs.values()),
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes={name: dimensions(part) for name, part in inputs.items()},
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    with atomic_path(path) as temporary:
        onnx.save(_halved(program.model_proto), temporary)


def _halved(model: Any) -> Any:
    """The same graph with its weights in half precision, each cast to single when it is loaded."""
    from onnx import TensorProto, helper, numpy_helper

    graph, kept, casts = model.graph, [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > _MIN_HALF:
            half = f"{tensor.name}_half"
            kept.append(numpy_helper.from_array(values.astype(np.float16), half))
            casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
        else:
            kept.append(tensor)
    nodes = [*casts, *graph.node]
    for node in nodes:
        del node.metadata_props[:]
        node.doc_string = ""
    for field, values in (("initializer", kept), ("node", nodes), ("value_info", [])):
        del getattr(graph, field)[:]
        getattr(graph, field).extend(values)
    del model.metadata_props[:], graph.metadata_props[:]
    return model


def fetch_runtime() -> Path:
    """The folder with the pinned files of ONNX Runtime Web, WebAssembly compressed, in the cache.

    The package comes from npm, by its own client where there is one.

    Raises:
        InputError: it cannot be fetched, or its contents are not those that are expected.
    """
    cache = cache_folder() / "web" / VERSION
    cache.mkdir(parents=True, exist_ok=True)
    if not all(_is_pinned(cache, name) for name in FILES):
        with (
            tempfile.TemporaryDirectory() as temporary,
            tarfile.open(_package(Path(temporary))) as package,
        ):
            for name in FILES:
                stream = package.extractfile(f"package/dist/{name}")
                assert stream is not None
                _keep(stream, cache, name)
    for name in FILES:
        if not _is_pinned(cache, name):
            raise InputError(f"{name} of {RUNTIME} {VERSION} is not the file that was pinned")
    return cache


def _packed(name: str) -> str:
    """WebAssembly is compressed: whatever the server does, a quarter is sent."""
    return f"{name}.gz" if name.endswith(".wasm") else name


def _keep(stream: IO[bytes], folder: Path, name: str) -> None:
    data = stream.read()
    with atomic_path(folder / _packed(name)) as path:
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".wasm") else data)


def _is_pinned(folder: Path, name: str) -> bool:
    path = folder / _packed(name)
    if not path.is_file():
        return False
    data = path.read_bytes()
    data = gzip.decompress(data) if name.endswith(".wasm") else data
    return hashlib.sha256(data).hexdigest() == FILES[name]


def _package(folder: Path) -> Path:
    """Fetch the npm package."""
    if npm := shutil.which("npm"):
        command = [npm, "pack", f"{RUNTIME}@{VERSION}", "--silent"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode == 0:
            return next(folder.glob("*.tgz"))
    registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
    address = f"{registry}/{RUNTIME}/-/{RUNTIME}-{VERSION}.tgz"
    path = folder / "package.tgz"
    try:
        with urllib.request.urlopen(address, timeout=60) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise InputError(f"{address} cannot be fetched: {error}; check the network") from error
    return path


def build(out: Path, weights: Path | None = None) -> None:
    """Build the page.

    Args:
        out: folder of the page; where it is another than this one, the page is copied there.
        weights: of the animator; None for those that b2m finds.
    """
    from b2m.models.animator import STRIDE

    assets = out / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    if out.resolve() != HERE.resolve():
        for name in (*PAGE, "sw.js", "README.md", "icon.svg"):
            shutil.copyfile(HERE / name, out / name)
    runtime = fetch_runtime()
    for name in FILES:
        shutil.copyfile(runtime / _packed(name), assets / _packed(name))
    model = MotionAnimator.from_pretrained(find_weights("animator", weights), device="cpu")
    maps = export(model, assets, STRIDE)
    sentences = {
        "still": diagnostics.NO_BLUR,
        "held": diagnostics.FROZEN_BY_GUIDANCE,
        "streaks": diagnostics.STREAKS,
        "unfollowed": diagnostics.POSSIBLE_STREAKS,
        "unseen": diagnostics.GUIDANCE_WITHOUT_MOTION,
        "long": diagnostics.VERY_LONG_BLUR,
    }
    described = {
        "stride": STRIDE,
        "maps": maps,
        "threshold": STILL_THRESHOLD,
        "sentences": sentences,
        "examples": list(EXAMPLES),
    }
    with atomic_path(assets / "model.json") as path:
        path.write_text(json.dumps(described, indent=1), encoding="utf-8")
    for name in EXAMPLES:
        shutil.copyfile(examples() / name, assets / name)
    files = [*PAGE, "icon.svg", *(f"assets/{path.name}" for path in sorted(assets.iterdir()))]
    files = [name for name in files if name != "assets/files.js"]
    digest = hashlib.sha256()
    for name in (*files, "sw.js"):
        digest.update((out / name).read_bytes())
    kept = [name for name in files if not any(word in name for word in LAZY)]
    with atomic_path(assets / "files.js") as path:
        listed = json.dumps({"version": digest.hexdigest()[:16], "files": ["./", *kept]}, indent=1)
        path.write_text(f"self.B2M = {listed};\n", encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="a checkpoint of the animator")
    parser.add_argument("--output", type=Path, default=HERE, help="a folder; by default this one")
    parser.add_argument("--fetch", action="store_true", help="fetch the runtime, and no more")
    chosen = parser.parse_args()
    if chosen.fetch:
        fetch_runtime()
        return
    build(chosen.output, chosen.weights)
    size = sum(path.stat().st_size for path in (chosen.output / "assets").iterdir())
    print(f"{chosen.output}: {size / 1e6:.1f} MB in assets/; serve it with")
    print(f"  python -m http.server -d {chosen.output} 8000")


if __name__ == "__main__":
    main()
