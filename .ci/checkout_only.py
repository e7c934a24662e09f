# SPDX-License-Identifier: GPL-2.0-or-later
"""The build backend: setuptools' for an editable installation, and a refusal of all else."""

from __future__ import annotations

from typing import NoReturn

from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    prepare_metadata_for_build_editable,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_editable",
]

REFUSAL = ("scsi-target-faults is used from a checkout and builds no wheel or sdist: "
           "run `pip install -e .` in the checkout")


def build_wheel(*_: object, **__: object) -> NoReturn:
    """Refuse in one line."""
    raise SystemExit(REFUSAL)


def build_sdist(*_: object, **__: object) -> NoReturn:
    """Refuse in one line."""
    raise SystemExit(REFUSAL)
