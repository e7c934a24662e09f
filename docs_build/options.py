# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that the pytest plugin adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from _pytest.config import get_config

from docs_build.markup import code, plain, table

PLUGIN = "fixtures.plugin"

GROUP = "scsi-target-faults"


def arguments() -> Iterator[Any]:
    """Yield the options of the plugin's group."""
    config = get_config()
    config.pluginmanager.import_plugin(PLUGIN)
    yield from config._parser.getgroup(GROUP).options


def is_flag(attributes: dict[str, Any]) -> bool:
    """Return whether an option takes no value.

    pytest 9 has argparse's ``nargs`` for that, pytest 8 the action's name.
    """
    return attributes.get("nargs") == 0 or attributes.get("action") in ("store_true", "store_false")


def usage(names: list[str], attributes: dict[str, Any]) -> str:
    """Return an option in the command line's syntax."""
    choices = attributes.get("choices")
    value = f"{{{','.join(map(str, choices))}}}" if choices else attributes.get("metavar")
    if value is None and not is_flag(attributes):
        value = str(attributes["dest"]).upper()
    return " ".join(filter(None, (", ".join(names), value)))


def markdown() -> str:
    """Return a row for each option."""
    return table(["option", "meaning"], [
        [code(usage(each.names(), each.attrs())), plain(each.attrs()["help"])]
        for each in arguments()])
