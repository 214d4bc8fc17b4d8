"""Who may import whom, what importing may touch, and how long files may be."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("brainfm", "data_prep", "eval")
FILES = sorted(p for d in PACKAGES for p in (ROOT / d).rglob("*.py"))

# room -> rooms it may import at module level (itself always allowed); CONTRIBUTING.md says why.
BASE = {"types", "errors", "signals.preprocess"}
MAY = {
    "errors": set(),
    "types": {"errors"},
    "signals": BASE,
    "data": BASE | {"signals"},
    "nn": BASE,
    "hub": BASE,
    "codecs": BASE | {"nn", "hub"},
    "models": BASE | {"nn", "hub", "codecs"},
    "compat": BASE | {"nn", "hub", "codecs", "models"},
    "heads": BASE | {"nn", "hub"},
    "detect": BASE | {"signals", "data", "nn", "hub", "codecs", "models", "heads"},
    "speech": BASE | {"signals", "data", "nn", "hub", "codecs", "models", "heads"},
    "tasks": BASE
    | {"nn", "hub", "codecs", "models", "heads", "detect", "speech", "training.optim"}
    | {"training.schedule", "data"},
    "training": BASE
    | {"nn", "hub", "codecs", "models", "heads", "detect", "speech", "tasks"}
    | {"data"},
    "codes": BASE | {"signals", "data", "hub", "codecs", "training.memory"},
    "api": BASE | {"signals", "data", "hub", "codecs", "models"},
    "cli": BASE
    | {"signals", "data", "hub", "codecs", "models", "heads", "detect", "speech", "tasks"}
    | {"training"},
}
HEAVY = {
    "lightning",
    "mne",
    "transformers",
    "diffusers",
    "deepspeed",
    "mne_bids",
    "sklearn",
    "jiwer",
    "pnpl",
}
HEAVY_ALLOWED = {
    "lightning": {"tasks", "training", "cli", "data"},
}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path, top_level_only: bool) -> list[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: list[str] = []
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
    return found


def allowed(target: str, may: set[str]) -> bool:
    inside = target.removeprefix("brainfm.")
    return any(inside == m or inside.startswith(m + ".") for m in may)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_only_what_lies_below_them(path: Path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] != "brainfm":
        for name in imports(path, top_level_only=False):
            if name.split(".")[0] in ("data_prep", "eval"):
                same = name.split(".")[0] == parts[0]
                bridge = parts[:2] == ("eval", "demo") or parts[:2] == ("eval", "bench")
                assert same or bridge, f"{path.name} imports {name}"
        return
    mine = parts[1] if len(parts) > 1 else ""
    for name in imports(path, top_level_only=False):
        assert name.split(".")[0] not in ("data_prep", "eval", "tests"), f"{name} in brainfm"
        if name.startswith("brainfm.") and mine in MAY:
            assert room(name) == mine or allowed(name, MAY[mine]), f"{mine} may not import {name}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if "brainfm" in p.parts], ids=lambda p: str(p.relative_to(ROOT))
)
def test_heavy_packages_are_imported_where_they_are_used(path: Path):
    mine = path.relative_to(ROOT).with_suffix("").parts[1]
    for name in imports(path, top_level_only=True):
        package = name.split(".")[0]
        if package in HEAVY:
            assert mine in HEAVY_ALLOWED.get(package, set()), f"{path}: top-level import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_can_be_read_top_to_bottom(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) <= 450, "two rooms would be clearer than one long file"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "the first sentence says what a file is for"


def test_no_load_is_lenient_and_no_error_is_swallowed():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") != "zip":
                for keyword in node.keywords:
                    lenient = (
                        keyword.arg == "strict" and getattr(keyword.value, "value", 1) is False
                    )
                    assert not lenient, f"{path}:{node.lineno}: strict=False"
            if isinstance(node, ast.ExceptHandler):
                only_pass = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
                assert not only_pass, f"{path}:{node.lineno}: except with pass"
                assert node.type is not None, f"{path}:{node.lineno}: bare except"


def test_importing_brainfm_touches_nothing_heavy():
    code = (
        "import sys, time; t = time.perf_counter(); import brainfm; "
        "heavy = {m.split('.')[0] for m in sys.modules} & "
        "{'torch', 'lightning', 'mne', 'transformers', 'diffusers', 'deepspeed', 'pandas'}; "
        "print(sorted(heavy))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_room_imports_without_a_gpu():
    names = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for p in FILES
        if p.name != "__main__.py"
    ]
    code = (
        "import importlib, torch\n"
        f"for n in {names!r}: importlib.import_module(n)\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]


def test_test_lines_are_at_least_three_fifths_of_source_lines():
    source = sum(len(p.read_text().splitlines()) for p in FILES)
    tests = sum(len(p.read_text().splitlines()) for p in (ROOT / "tests").rglob("*.py"))
    assert tests >= 0.6 * source, f"{tests} test lines for {source} source lines"


def test_no_two_test_files_share_a_name():
    """pytest imports tests by their bare names: of two alike, a run of all of them refuses one."""
    names = [p.name for p in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
