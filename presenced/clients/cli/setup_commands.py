"""`presence init` and `phrase`: the identity, and the words that bring it back."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import click

from presenced.clients.cli.commands import NAME, Command, Session, session_of
from presenced.clients.cli.failure import Exit, Failure

_PER_LINE = 6
_TRIES = 3
_NO_PHRASE = "no phrase is kept here: it was confirmed, or another device made the identity"


@click.command(
    cls=Command,
    examples="""
    presence init --name laptop
    presence --json init --name box
    """,
)
@click.option(
    "--name", type=NAME, default=socket.gethostname, help="What your devices call this one."
)
@click.pass_context
def init(context: click.Context, name: str) -> None:
    """Make your identity, with this as its first device.

    The 24 words that it shows bring your identity back when all devices are lost. Write them down.
    """
    session = session_of(context)
    founded = session.connection.post("/v1/init", {"name": name})
    session.answer(founded, lambda: _phrase_lines(founded["phrase"]))
    if session.json:
        return
    session.say(f"This device is {founded['device']}, of {founded['identity']}.")
    session.say("Write the 24 words down, on paper. They are not shown on other devices.")
    if session.interactive:
        _ask_words(session, founded["phrase"])
    else:
        session.say("Then confirm two of them: `presence phrase`.")


@click.command(
    cls=Command,
    examples="""
    presence phrase
    presence phrase --confirm 3=apple --confirm 17=zebra
    """,
)
@click.option(
    "--confirm",
    metavar="NUMBER=WORD",
    multiple=True,
    help="Two words of it: you have it written down, forget it here.",
)
@click.pass_context
def phrase(context: click.Context, confirm: tuple[str, ...]) -> None:
    """Show the recovery phrase until you confirm that it is written down."""
    session = session_of(context)
    if confirm:
        words = _given_words(confirm)
        told = session.connection.post("/v1/phrase/confirm", {"words": words})
        session.answer(told, lambda: ["confirmed; this device has forgotten the phrase"])
        return
    told = session.connection.get("/v1/phrase")
    if told["confirmed"]:
        session.answer(told, lambda: [_NO_PHRASE])
        return
    session.answer(told, lambda: _phrase_lines(told["phrase"]))
    if session.interactive:
        _ask_words(session, told["phrase"])


def _phrase_lines(words: str) -> Iterator[str]:
    numbered = [f"{number:2}. {word:<9}" for number, word in enumerate(words.split(), 1)]
    for start in range(0, len(numbered), _PER_LINE):
        yield "".join(numbered[start : start + _PER_LINE]).rstrip()


def _given_words(given: tuple[str, ...]) -> dict[str, str]:
    words = {}
    for pair in given:
        number, separator, word = pair.partition("=")
        if not separator or not number.isdigit() or not word:
            raise click.BadParameter("give NUMBER=WORD", param_hint="--confirm")
        words[number] = word
    if len(words) != 2:
        raise click.BadParameter("give two different words", param_hint="--confirm")
    return words


def _ask_words(session: Session, shown: str) -> None:
    count = len(shown.split())
    first, second = sorted(secrets.SystemRandom().sample(range(1, count + 1), 2))
    for _ in range(_TRIES):
        words = {
            str(number): click.prompt(
                f"Word {number} (empty: later)", default="", err=True, show_default=False
            )
            for number in (first, second)
        }
        if not all(words.values()):
            session.say("Not confirmed. `presence phrase` shows the words again.")
            return
        try:
            session.connection.post("/v1/phrase/confirm", {"words": words})
        except Failure as failure:
            if failure.exit_code is not Exit.NOT_ALLOWED:
                raise
            session.say("These are not the words. Look again.")
            continue
        session.say("Confirmed. This device has forgotten the phrase.")
        return
    session.say("Not confirmed. `presence phrase` shows the words again.")
