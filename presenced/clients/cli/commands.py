"""How commands of `presence` are made: `-h` with examples, `--json` before or after, lazy groups.

Rules of this file: a command's module is imported only when the command runs or its help is shown,
so that `presence status` pays for nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Final

import click

from presenced.clients.cli.connection import Connection
from presenced.clients.cli.text import safe

NAME_CHARS_MAX: Final = 256
"of a device's name, as the daemon takes it"

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Session:
    """What all commands share: how to answer, and the daemon."""

    def __init__(self) -> None:
        self.json = False
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        """The connection to the daemon of this environment; it is made when first used."""
        if self._connection is None:
            from presenced.socket_path import existing_socket_path

            self._connection = Connection(existing_socket_path(os.environ))
        return self._connection

    def answer(self, value: Any, lines: Callable[[], Iterable[str]]) -> None:
        """Data on stdout: the JSON document, or lines for a person. Lines must be safe."""
        if self.json:
            print_json(value)
            return
        for line in lines():
            click.echo(line)

    def say(self, text: str) -> None:
        """Talk, on stderr."""
        click.echo(safe(text), err=True)

    @property
    def interactive(self) -> bool:
        """Whether there is a person to ask."""
        return not self.json and sys.stdin.isatty() and sys.stderr.isatty()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def print_json(value: Any) -> None:
    """One JSON document on one line of stdout, in ASCII: safe in every terminal and locale."""
    click.echo(json.dumps(value))


def session_of(context: click.Context) -> Session:
    """The session of a running command."""
    session = context.find_object(Session)
    assert session is not None
    return session


def _json_option() -> click.Option:
    def note(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            session_of(context).json = True

    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=note,
        help="Answer in JSON.",
    )


class Command(click.Command):
    """A command that knows `--json` and shows examples."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **kwargs)
        self.params.append(_json_option())
        self.examples = examples

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)


class LazyGroup(click.Group):
    """A group whose commands are named as `module:attribute` and imported when used."""

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, tuple[str, str]],
        examples: str = "",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **kwargs)
        self._lazy = lazy
        "name -> (`module:attribute`, what it does)"
        self.params.append(_json_option())
        self.examples = examples

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        found = self._lazy.get(name)
        if found is None:
            return None
        module, _, attribute = found[0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._lazy:
            near = _nearest(args[0], self._lazy)
            if near is not None and not args[0].startswith("-"):
                context.fail(f"No such command {safe(args[0])!r}. Did you mean {near!r}?")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)


class _Name(click.ParamType[str]):
    """What a device is called."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name = str(value).strip()
        if not 1 <= len(name) <= NAME_CHARS_MAX:
            self.fail(f"a name has 1 to {NAME_CHARS_MAX} characters", param, ctx)
        return name


NAME: Final = _Name()


def write_examples(examples: str, formatter: click.HelpFormatter) -> None:
    """One example per line."""
    if examples:
        with formatter.section("Examples"):
            for line in examples.strip().splitlines():
                formatter.write(f"  {line.strip()}\n")


def _nearest(name: str, names: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    found = get_close_matches(name, list(names), n=1)
    return found[0] if found else None
