# SPDX-License-Identifier: GPL-2.0-or-later
"""The target under test with stf_test.ko, as if the defect were the target's own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inject.traits import TargetTraits
from results.history import Recorder
from results.ladder import Ladder
from suites.selftest.detectors.build import NAME
from targets.machine import Machine
from targets.target import Deployment, Device, Target, Transport

PLACE = f"/run/{NAME}.ko"


class TargetWithModule:
    """A target whose snapshot has the module loaded.

    ``modules_by_release``: path of the module for each kernel release.
    """

    def __init__(self, target: Target, modules_by_release: Mapping[str, Path]) -> None:
        self._target = target
        self._files = modules_by_release

    @property
    def name(self) -> str:
        """The target's name."""
        return self._target.name

    @property
    def traits(self) -> TargetTraits:
        """The target's traits."""
        return self._target.traits

    @property
    def tree(self) -> Path | None:
        """The target's source tree."""
        return self._target.tree

    @property
    def slabs(self) -> tuple[str, ...]:
        """The target's slab caches and the module's."""
        return (*self._target.slabs, NAME)

    @property
    def modules(self) -> tuple[str, ...]:
        """The target's modules and stf_test."""
        return (*self._target.modules, NAME)

    @property
    def programs(self) -> tuple[str, ...]:
        """The target's programs."""
        return self._target.programs

    def describe(self) -> Mapping[str, Any]:
        """Return the target's description."""
        return self._target.describe()

    def check(self, release: str) -> None:
        """Check that the target is available for a kernel release."""
        self._target.check(release)

    def load(self, machine: Machine) -> None:
        """Load the target and the module."""
        self._target.load(machine)
        text = base64.b64encode(self._files[machine.release].read_bytes()).decode()
        machine.write(f"{PLACE}.b64", text)
        machine.run(["sh", "-c", f"base64 -d {PLACE}.b64 > {PLACE}"])
        machine.run(["insmod", PLACE])

    def deploy(
        self, machine: Machine, device: Device, transport: Transport, ladder: Ladder,
        recorder: Recorder,
    ) -> Deployment:
        """Deploy the target's device."""
        return self._target.deploy(machine, device, transport, ladder, recorder)

    def unload(self, machine: Machine, ladder: Ladder) -> None:
        """Unload the target; the module stays loaded after any defect."""
        self._target.unload(machine, ladder)
