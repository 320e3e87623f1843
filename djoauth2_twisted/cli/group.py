"""A group of commands that helps where a command is missing or mistyped."""

from __future__ import annotations

import click

#: Words of other tools, and our word for the same.
_SYNONYMS = {
    "change": "edit",
    "create": "add",
    "ls": "list",
    "new": "add",
    "remove": "delete",
    "rm": "delete",
    "update": "edit",
}


class Group(click.Group):
    """A group whose errors name the commands that may be meant.

    Click itself suggests the commands and options that are spelled alike.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments.

        :raises click.UsageError: there are none.
        """
        if not args and not ctx.resilient_parsing:
            *most, last = self.list_commands(ctx)
            commands = f"{', '.join(most)} or {last}" if most else last
            raise click.UsageError(f"the command is missing: {commands}", ctx)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names.

        :raises click.UsageError: there is no such command.
        """
        name = args[0]
        meant = _SYNONYMS.get(name)
        if meant in self.commands and name not in self.commands and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command {name!r}. Did you mean {meant!r}?", ctx)
        return super().resolve_command(ctx, args)
