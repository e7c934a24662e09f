# SPDX-License-Identifier: GPL-2.0-or-later
"""The checkout: tests that a bare pytest runs, the built package, the versions named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = METADATA["project"]

SPDX = "# SPDX-License-Identifier: GPL-2.0-or-later"

REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(>=(?P<least>[0-9][0-9.]*))?$")


def requirements() -> list[str]:
    """Return every requirement of the project, including optional ones."""
    extras = PROJECT["optional-dependencies"].values()
    return [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]


def normal(name: str) -> str:
    """Return a package's name as PEP 503 normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def numbers(version: str) -> tuple[int, ...]:
    """Return a release number as a tuple that can be compared."""
    return tuple(int(each) for each in version.split("."))


def pinned_versions() -> dict[str, str]:
    """Return the versions of the constraints file by normalized name."""
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normal(name): version for name, version in pins}


@pytest.mark.parametrize("requirement", requirements())
def test_a_dependency_has_a_lower_bound_that_the_constraints_meet(requirement: str) -> None:
    found = REQUIREMENT.match(requirement)
    assert found and found["least"], f"{requirement} has no lower bound"
    assert numbers(pinned_versions()[normal(found["name"])]) >= numbers(found["least"])


def test_the_license_is_an_spdx_expression() -> None:
    assert PROJECT["license"] == "GPL-2.0-or-later"


@pytest.mark.parametrize("hook", ["build_wheel", "build_sdist"])
def test_a_build_is_refused_in_one_line(hook: str) -> None:
    pytest.importorskip("setuptools", minversion="64")
    done = subprocess.run(
        [sys.executable, "-c", f"import checkout_only; checkout_only.{hook}('dist')"],
        check=False, cwd=ROOT / ".ci", capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install -e ." in done.stderr


def test_a_bare_pytest_collects_the_selftests_and_no_scenario() -> None:
    """Collection works without PYTHONPATH, and without ``python -m``, which extends the path."""
    program = "import sys; sys.path.remove(''); import pytest; sys.exit(pytest.main())"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTEST_ADDOPTS": "--collect-only -q -p no:cacheprovider",
             "PYTHONPATH": ""})
    tests = [line for line in done.stdout.splitlines() if "::" in line]
    assert done.returncode == 0, done.stdout[-2000:]
    assert tests and all(line.startswith("suites/selftest/") for line in tests)


def test_every_source_file_has_its_license_line() -> None:
    """The license is on the first line, or on the second after ``#!``."""
    done = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no git checkout")
    names = [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]
    assert names
    lacking = [name for name in names
               if SPDX not in (ROOT / name).read_text(encoding="utf-8").splitlines()[:2]]
    assert not lacking, f"{len(lacking)} files have no line {SPDX!r}: {lacking[:5]}"
