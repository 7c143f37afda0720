"""How groups of commands show their help: whole summaries, wrapped at blanks, however narrow the terminal."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

WHOLE = 10_000  # characters of a summary; none is longer


class CommandGroup(TyperGroup):
    """A group whose list of commands cuts no summary off; Typer's own cuts each to one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the commands with their summaries, each on as many lines as it needs."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(WHOLE))
            for name, command in found
            if command is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
