# SPDX-License-Identifier: GPL-2.0-or-later
"""The program ``stf``: the help of each of its commands (click)."""

from __future__ import annotations

from collections.abc import Iterator

import click

from docs_build.markup import block
from fixtures.stf.main import program

WIDTH = 92
"""Columns of the help texts."""


def contexts() -> Iterator[click.Context]:
    """Yield a context for the program, each of its commands, and their subcommands."""
    yield from _below(click.Context(
        program, info_name="stf", terminal_width=WIDTH, max_content_width=WIDTH,
        **program.context_settings))


def _below(context: click.Context) -> Iterator[click.Context]:
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None:
                yield from _below(click.Context(command, parent=context, info_name=name))


def markdown() -> str:
    """Return the help of all commands."""
    return "\n\n".join(
        f"### {context.command_path}\n\n{block(context.command.get_help(context))}"
        for context in contexts())
