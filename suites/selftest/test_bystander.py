# SPDX-License-Identifier: GPL-2.0-or-later
"""The bystander's backend: a file of its own, and the history for what it witnesses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from fixtures.bystander import BACKEND, Bystander
from results.history import History, Recorder
from targets.target import Device

BREACH = {"rule": "order", "handle": 1, "point": "EXEC", "seen": "x", "allowed": "y",
          "document": "scst_user.h", "provoked": False}


def test_the_history_has_what_its_backend_witnessed(tmp_path: Path) -> None:
    def export(operation: str, device: Device, recorder: Recorder) -> SimpleNamespace:
        assert operation == "bystander-deploy"
        recorder.record(1.0, "backend", "step", action="received", handle=1)
        recorder.record(1.1, "backend", "breach", **BREACH)
        recorder.record(1.2, "backend", "refused", handle=2, error="ESRCH")
        return SimpleNamespace(address=None)

    with Recorder(tmp_path / "history.jsonl") as recorder:
        Bystander(SimpleNamespace(  # type: ignore[arg-type]
            recorder=recorder, record=SimpleNamespace(path=tmp_path), export=export, client=None,
            ladder=None, announce=lambda *_: None,
            initiator=SimpleNamespace(login=lambda *_: None)))
    assert [(event.time, event.kind, event.data["device"])
            for event in History.load(tmp_path / "history.jsonl").events] == [
        (1.1, "breach", "stfb"), (1.2, "refused", "stfb")]
    assert len(History.load(tmp_path / BACKEND).events) == 3
