"""The architecture: who may import whom, how long a file gets, what is documented."""

import ast
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "b2m"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE = 800

# A subpackage may import those of lower layers, and itself.
LAYERS = (
    {"errors"},
    {"assets", "blur", "files", "hub_client", "losses", "metrics", "registry", "tensors"},
    {"hub", "media"},
    {"motion"},
    {"deconvolution", "guidance", "visualize"},
    {"data", "models"},
    {"inference", "train"},
    {"api", "evaluate"},
    {"cli"},
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def nodes_of(tree, *, inside_functions):
    """All nodes, but not those for the type checker and, if so asked, not those run later."""
    for child in ast.iter_child_nodes(tree):
        if is_type_checking(child):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        yield child
        yield from nodes_of(child, inside_functions=inside_functions)


def imports(path, *, inside_functions):
    """Names of the modules of b2m that a file imports."""
    found = set()
    for node in nodes_of(ast.parse(path.read_text("utf-8")), inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {name for name in found if name == "b2m" or name.startswith("b2m.")}


def subpackage(module):
    return module.split(".")[1] if "." in module else ""


def test_there_are_few_layers_and_subpackages():
    assert {subpackage(module) for module in MODULES} == {"", *LAYER}
    assert len(LAYER) <= 25
    assert len(LAYERS) <= 11


@pytest.mark.parametrize("module", MODULES)
def test_direction_of_imports(module):
    if module == "b2m":
        assert imports(MODULES[module], inside_functions=True) == set()
        return
    layer = LAYER[subpackage(module)]
    taken = {subpackage(name) for name in imports(MODULES[module], inside_functions=True)}
    higher = {name for name in taken - {"", subpackage(module)} if LAYER[name] >= layer}
    assert not higher, f"{module} must not import {higher}"


def test_no_import_cycles():
    graph = {name: imports(path, inside_functions=False) for name, path in MODULES.items()}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(graph.get(name, ())):
            if other != name:
                visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


def modules_after(code):
    result = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_the_call_paths_name_functions_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    text = text[text.index("### Three call paths") : text.index("### Adding")]
    names = [name for name in re.findall(r"`([\w.]+)`", text) if name.split(".")[0] in LAYER]
    assert len(names) > 20
    for name in names:
        pkgutil.resolve_name(f"b2m.{name}")


def test_import_is_lazy():
    loaded = modules_after("import b2m; b2m.__version__; dir(b2m); b2m.InputError")
    assert {"b2m", "b2m.errors"} == {name for name in loaded if name.split(".")[0] == "b2m"}
    heavy = {"torch", "cv2", "numpy", "PIL", "av", "scipy", "typer", "huggingface_hub"}
    assert not loaded & heavy


def test_command_line_starts_without_pytorch():
    loaded = modules_after("import b2m.cli")
    assert not loaded & {"torch", "cv2", "numpy", "PIL", "av", "scipy", "huggingface_hub"}


def test_api_needs_no_training_code():
    # Each of these costs seconds, or need not be installed.
    loaded = modules_after("import b2m.api")
    extra = {"timm", "torchvision", "accelerate", "matplotlib", "skimage", "huggingface_hub"}
    assert not loaded & extra
    assert not {name for name in loaded if name.startswith(("b2m.data", "b2m.train"))}


def test_public_names_resolve():
    import b2m

    for name in b2m.__all__:
        assert getattr(b2m, name) is not None
    assert set(b2m.__all__) <= set(dir(b2m))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = b2m.nothing_like_it


def test_training_needs_no_more_than_a_bare_machine_has():
    code = (
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('av', 'scipy', 'matplotlib', 'skimage'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import b2m.train, b2m.losses, b2m.models, b2m.data.stream"
    )
    assert "b2m.data.stream" in modules_after(code)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_FILE


def tracked_files():
    if shutil.which("git") is None:
        pytest.skip("git, which lists the files of the repository, is not installed")
    # A clone may be another user's, as it is for root in a container.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("a folder without .git has no list of what is tracked")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_path_of_one_machine():
    # Put together here, so that this file does not hold them itself.
    pattern = re.compile(r"(?<![\w.~])/(?:" + "|".join(("work", "tmp", "home", "root")) + r")\b/")
    suffixes = {"", ".py", ".md", ".toml", ".yml", ".yaml", ".json", ".ipynb", ".txt", ".cfg"}
    found = []
    for path in tracked_files():
        if path.suffix not in suffixes or not path.is_file():
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found, "\n".join(found)
