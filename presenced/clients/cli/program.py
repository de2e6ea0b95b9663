"""`presence`: what a person or a script runs. It knows the owner API only, nothing of the daemon.

Rules of this file: data on stdout, talk on stderr; every way to end has its exit code (`Exit`);
with `--json` an error is one JSON object on stderr.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

import click

from presenced import __version__
from presenced.clients.cli.commands import CONTEXT, LazyGroup, Session
from presenced.clients.cli.failure import Exit, Failure
from presenced.clients.cli.text import safe

_HERE: Final = "presenced.clients.cli."

COMMANDS: Final = {
    "init": (_HERE + "setup_commands:init", "Make your identity, with this as its first device."),
    "join": (_HERE + "device_commands:join", "Make this device one of your devices."),
    "status": (_HERE + "status_commands:status", "Show this device, its links, what is pending."),
    "devices": (_HERE + "device_commands:devices", "List, show and add devices."),
    "follow": (_HERE + "follow_commands:follow", "Follow a feed, podcast, channel or person."),
    "unfollow": (_HERE + "follow_commands:unfollow", "Stop following."),
    "follows": (_HERE + "follow_commands:follows", "List what you follow."),
    "import": (_HERE + "opml_commands:import_", "Follow what an OPML file lists."),
    "export": (_HERE + "opml_commands:export", "Write what you follow as OPML."),
    "session": (_HERE + "session_commands:session", "Start, update, list and end sessions."),
    "continue": (_HERE + "session_commands:continue_", "Take a session over to this device."),
    "summary": (_HERE + "recap_commands:summary", "Show what changed while devices were apart."),
    "resolve": (_HERE + "recap_commands:resolve", "Take the other value where two differ."),
    "watch": (_HERE + "watch_commands:watch", "Show what happens, as it happens."),
    "phrase": (_HERE + "setup_commands:phrase", "Show and confirm the recovery phrase."),
    "net": (_HERE + "status_commands:net", "Hold all links down, or let them come back."),
    "doctor": (_HERE + "status_commands:doctor", "Check this device and say what to do."),
    "service": (_HERE + "service:service", "Run presenced at every login (systemd)."),
}


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(__version__)
        context.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings=CONTEXT,
    no_args_is_help=True,
    examples="""
    presence init --name laptop
    presence devices add
    presence follow https://example.org/feed.xml --title "An example"
    presence --json session list
    """,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
def presence() -> None:
    """What you follow and the sessions you are in, the same on all your devices.

    Data goes to stdout, everything else to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 daemon
    not reachable or not set up yet, 4 not allowed, 5 not found, 6 conflict, 7 no answer in time,
    8 done with findings, 130 interrupted.
    """


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    session = Session()
    try:
        _check(arguments)
        result = presence.main(arguments, "presence", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return result if isinstance(result, int) else Exit.OK
    except Failure as failure:
        _report(session, failure)
        return failure.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.ClickException as error:
        step = "" if error_context(error) is None else f"Try `{error_context(error)} -h`."
        told = " ".join(error.format_message().split())
        usage = Failure(told, Exit.USAGE, next_step=step, code="usage")
        _report(session, usage)
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except OSError as error:  # of our output: all else is a failure by now
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # else whoever reads our output has gone
            _report(session, Failure(f"cannot write the answer: {error.strerror}", Exit.FAILED))
        return Exit.FAILED
    finally:
        session.close()


def _check(arguments: list[str]) -> None:
    """Raises `Failure` for bytes that are no letters in the system's encoding."""
    for argument in arguments:
        try:
            argument.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Failure(
                f"this argument is not UTF-8: {argument}",
                Exit.USAGE,
                next_step="Titles, names and addresses are text in UTF-8.",
                code="usage",
            ) from error


def error_context(error: click.ClickException) -> str | None:
    """The command whose help explains a usage error."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return None if context is None else context.command_path


def _report(session: Session, failure: Failure) -> None:
    if session.json or "--json" in sys.argv[1:]:
        problem = {
            "error": failure.code,
            "detail": failure.detail,
            "next_step": failure.next_step,
            "exit_code": int(failure.exit_code),
        }
        click.echo(json.dumps(problem), err=True)
        return
    click.echo(f"presence: {safe(failure.detail)}", err=True)
    if failure.next_step:
        click.echo(safe(failure.next_step), err=True)
