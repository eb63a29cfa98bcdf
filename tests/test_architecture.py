"""Dependencies point one way, files stay short, torchvision's trap is disarmed before it is met, and listing imports no torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from methods.registry import METHODS

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "benchmarks": {"methods", "slurm"},
    "methods": {"avg", "baselines"},
    "baselines": {"avg"},
    "avg": set(),
    "slurm": set(),
}
LONGEST = 350
SCHEMA = "avg.torchvision_schema"
NEEDS_SCHEMA = {"torchvision", "open_clip", "timm", "transformers"}
HEAVY = {"torch", *NEEDS_SCHEMA}

SOURCES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))
# What plans, lists and prints: the command line must answer without the seconds that torch takes to import.
LIGHT = sorted(
    {path for path in SOURCES if path.is_relative_to(ROOT / "benchmarks") and path.parent != ROOT / "benchmarks" / "datasets"}
    | {ROOT / "benchmarks" / "datasets" / "__init__.py"}
    | {ROOT / "methods" / f"{name}.py" for name in ("data", "registry", "retriever", "stage")}
    | {ROOT / Path(*path.split(":")[0].split(".")).with_suffix(".py") for path, _ in METHODS.values()}
)


@dataclass(frozen=True)
class Import:
    """One import: what, on which line, and inside which functions (none: when the module itself is imported)."""

    module: str
    line: int
    scope: tuple[str, ...]


def imports(source: str) -> list[Import]:
    """Returns all imports of a module, those inside functions too; not those that only a type checker sees.

    `from a import b` counts as `a.b`, since b may be a module. A name in a string, `"a.b:c"` or `import_module("a.b")`, is one as well.
    """
    return list(_visit(ast.parse(source), ()))


def _visit(node: ast.AST, scope: tuple[str, ...]) -> Iterator[Import]:
    match node:
        case ast.Import():
            yield from (Import(alias.name, node.lineno, scope) for alias in node.names)
        case ast.ImportFrom(module=str(module), level=0):
            yield from (Import(f"{module}.{alias.name}", node.lineno, scope) for alias in node.names)
        case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"), args=[ast.Constant(value=str(module)), *_]):
            yield Import(module, node.lineno, scope)
        case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z_]\w*(\.\w+)+:\w+", text):
            # Named now, imported when it is called: an arrow between packages, but no import of this module.
            yield Import(text.partition(":")[0], node.lineno, (*scope, "a name in a string"))
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children: list[ast.AST] = list(node.orelse)
    else:
        children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        scope = (*scope, f"{getattr(node, 'name', 'lambda')}:{node.lineno}")
    for child in children:
        yield from _visit(child, scope)


def wrong_arrows(package: str, source: str) -> list[str]:
    """Returns the imports that a module of this package may not have."""
    allowed = MAY_IMPORT[package] | {package}
    return [found.module for found in imports(source) if (top := found.module.split(".")[0]) in MAY_IMPORT and top not in allowed]


def unsafe_imports(source: str) -> list[str]:
    """Returns the imports before which the schema module was not imported, by the module or by the same function."""
    found = imports(source)
    schemas = [safe for safe in found if safe.module == SCHEMA]
    return [
        f"line {risky.line}: {risky.module}"
        for risky in found
        if risky.module.split(".")[0] in NEEDS_SCHEMA and not any(_precedes(safe, risky) for safe in schemas)
    ]


def _precedes(first: Import, second: Import) -> bool:
    inside = first.scope == second.scope[: len(first.scope)]
    return inside and (first.line < second.line or len(first.scope) < len(second.scope))


def heavy_at_import(source: str) -> list[str]:
    """Returns what a module imports of the torch family when it is imported itself."""
    return [found.module for found in imports(source) if not found.scope and found.module.split(".")[0] in HEAVY]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_module(path: Path):
    source = path.read_text()
    assert wrong_arrows(path.relative_to(ROOT).parts[0], source) == []
    assert unsafe_imports(source) == []
    assert len(source.splitlines()) <= LONGEST, "is it still one thing?"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=name)
def test_test_file_is_short(path: Path):
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", LIGHT, ids=name)
def test_light_module_names_no_torch_at_top_level(path: Path):
    assert heavy_at_import(path.read_text()) == []


def test_light_modules_leave_torch_out():
    """What they import imports no torch either; in a process of its own, since this one may have it already."""
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in LIGHT]
    source = (
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        "    assert 'torch' not in sys.modules, f'{module} imports torch'\n"
        "print(len(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("avg", "import methods.decoding.beam"),
        ("avg", "def f():\n    from baselines import clip"),
        ("avg", "import slurm"),
        ("baselines", "from methods.data import Gallery"),
        ("methods", "import benchmarks.stages as stages"),
        ("methods", "class A:\n    async def f(self):\n        import slurm.launch"),
        ("methods", 'DATA = "benchmarks.datasets.openmoji_scenes:build"'),
        ("methods", 'import importlib\nimportlib.import_module("benchmarks.spec")'),
        ("benchmarks", "from avg.quantizer import quantize"),
        ("benchmarks", "import baselines"),
        ("slurm", "try:\n    import methods\nexcept ImportError:\n    pass"),
    ],
)
def test_a_planted_wrong_arrow_is_found(package: str, source: str):
    assert len(wrong_arrows(package, source)) == 1


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("benchmarks", "import methods.registry, slurm.launch\nfrom benchmarks import spec"),
        ("methods", "from avg.quantizer import quantize\nimport baselines.clip"),
        ("baselines", "import avg.torchvision_schema"),
        ("avg", "import methodsx\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from methods.data import Gallery"),
        ("slurm", "from . import profile"),
    ],
)
def test_a_right_arrow_is_not(package: str, source: str):
    assert wrong_arrows(package, source) == []


@pytest.mark.parametrize(
    ("source", "unsafe"),
    [
        ("import open_clip", 1),
        ("import open_clip\nimport avg.torchvision_schema", 1),
        ("def f():\n    from transformers import T5Config\n    import avg.torchvision_schema", 1),
        ("def f():\n    import avg.torchvision_schema\ndef g():\n    import timm", 1),
        ("import avg.torchvision_schema\nimport timm", 0),
        ("from avg import torchvision_schema\ndef f():\n    import torchvision.transforms", 0),
        ("def f():\n    import open_clip\nimport avg.torchvision_schema", 0),
        ("def f():\n    import avg.torchvision_schema\n    import timm", 0),
    ],
)
def test_the_trap_needs_its_schemas_first(source: str, unsafe: int):
    assert len(unsafe_imports(source)) == unsafe


@pytest.mark.parametrize(
    ("source", "heavy"),
    [
        ("import torch.nn", ["torch.nn"]),
        ("class A:\n    from transformers import T5Config", ["transformers.T5Config"]),
        ("def f():\n    import torch", []),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", []),
        ("import torchmetrics", []),
    ],
)
def test_a_planted_heavy_import_is_found(source: str, heavy: list[str]):
    assert heavy_at_import(source) == heavy
