"""The files with which a contributor and the services around a repository begin: what they name is there."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.test_house import ROOMS, ROOT

yaml = pytest.importorskip("yaml")

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MADE = {".venv", "build", "dist"}
"""Folders that tools make."""

YAML = [
    *sorted((ROOT / ".github").rglob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / ".readthedocs.yaml",
]


def required(*extras: str) -> set[str]:
    """Names of the distributions that Millrace installs with some extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].splitlines()
    for extra in extras:
        lines += setup["options.extras_require"][extra].splitlines()
    return {re.split(r"[\[>=;! ]", line)[0] for line in lines if line}


def imported(module: Path) -> set[str]:
    """Top-level packages that a module cannot be imported without."""
    names: set[str] = set()
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_configuration_is_yaml_with_contents(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_the_workflow_runs_what_can_be_run_at_home() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert [step["run"] for step in workflow["jobs"]["ci"]["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_site_is_built_from_a_configuration_and_an_extra_that_exist() -> None:
    build = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text())
    assert (ROOT / build["sphinx"]["configuration"]).exists()
    [install] = build["python"]["install"]
    assert required(*install["extra_requirements"]) > required()


def test_the_extra_of_the_site_brings_what_documented_modules_import() -> None:
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "runserver" not in path.name]
    foreign = set().union(*map(imported, modules)) - sys.stdlib_module_names - {*ROOMS, "daphne"}
    distributions = packages_distributions()
    missing = {name for name in foreign if not required("docs") & {one.lower() for one in distributions[name]}}
    assert "pytest" in foreign  # channel_layer.conformance is in the reference
    assert missing == set()


def test_the_targets_that_the_guide_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", CONTRIBUTING))
    assert {"test", "bench", "lint"} <= named <= targets


def test_the_files_that_the_guide_names_exist() -> None:
    named = {name for name in re.findall(r"`([\w./-]+)`", CONTRIBUTING) if "/" in name or name.startswith(".")}
    assert {".ci/run", "channels/version.py"} <= named
    here = [name for name in sorted(named) if name.split("/")[0] not in MADE]
    assert [name for name in here if not (ROOT / name).exists()] == []


def test_the_hooks_use_the_ruff_of_make_lint() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {hook["entry"].split()[0] for hook in repository["hooks"]} == {".venv/bin/ruff"}
    assert "$(BIN)/ruff check ." in (ROOT / "Makefile").read_text()
