"""The licences of what b2m needs, as installed here, and of what it brings along: docs/licences.md.

python benchmarks/robustness/licences.py
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASSETS = (
    ("weights/", "MIT, trained by this project on photos whose licences `weights/README.md` names"),
    ("examples/", "as `examples/README.md` says of each photo: CC0, CC BY or public domain"),
    ("demo/", "MIT, written here; `demo/web/build.py` puts onnxruntime-web (MIT) beside its page"),
)
NOTES = {
    "av": "its wheels hold FFmpeg with x264 and x265: GPL-2.0-or-later as a whole",
    "opencv-python-headless": "its wheels hold FFmpeg without x264: LGPL-2.1",
    "stlpips-pytorch": "with weights under a non-commercial clause: for evaluation only",
}


def licence_of(name: str) -> str:
    """What a distribution says of itself."""
    about = metadata.metadata(name)
    if said := about.get("License-Expression"):
        return said
    classes = [
        line.rpartition("::")[2].strip()
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    first = (about.get("License") or "").strip().splitlines()
    return ", ".join(classes) or (first[0] if first else "not said")


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"b2m": project["dependencies"], **project["optional-dependencies"]}
    lines = [
        "# Licences of what b2m needs",
        "",
        "Made by `python benchmarks/robustness/licences.py` from what the packages say.",
        "",
        "| needed by | package | licence | |",
        "|---|---|---|---|",
    ]
    for group, needs in groups.items():
        for name in sorted({re.split(r"[\[<>=!~ ;]", need)[0] for need in needs} - {"b2m"}):
            try:
                licence = licence_of(name)
            except metadata.PackageNotFoundError:
                licence = "not installed where this was made"
            lines.append(f"| {group} | {name} | {licence} | {NOTES.get(name, '')} |")
    lines += ["", "## What b2m brings along", ""]
    lines += [f"- `{place}`: {licence}." for place, licence in ASSETS]
    (ROOT / "docs" / "licences.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
