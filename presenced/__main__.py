"""`presenced run`: the daemon in the foreground."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence

from presenced import __version__
from presenced.config import Arguments, Config, read_config
from presenced.errors import PresenceError

EXIT_FAILED = 1


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Exits with 2 for what it cannot understand."""
    parser = argparse.ArgumentParser(
        prog="presenced",
        description="Keeps what you follow and your sessions the same on all your devices.",
        epilog="People and scripts talk to it with `presence`.",
    )
    parser.add_argument("--version", action="version", version=f"presenced {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="run the daemon in the foreground",
        epilog="example: presenced run --listen 0.0.0.0:4000 --peer box.lan:4000",
    )
    run.add_argument("--listen", metavar="HOST:PORT", help="UDP address to listen on")
    run.add_argument(
        "--peer",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="another device's address; may be repeated",
    )
    run.add_argument(
        "--no-mdns", action="store_true", help="do not look for devices on the local network"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the process's exit code."""
    asked = parse_arguments(argv)
    try:
        config = read_config(
            Arguments(
                listen=asked.listen,
                peers=tuple(asked.peer),
                mdns=False if asked.no_mdns else None,
            )
        )
        return _daemon()(config)
    except PresenceError as error:
        print(f"presenced: {error.detail or error.code}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return EXIT_FAILED


def _daemon() -> Callable[[Config], int]:
    """Import the daemon: everything, so after the arguments."""
    gc.disable()  # modules are no garbage: looking for some in them is a sixth of a start
    try:
        from presenced.daemon import run_daemon
    finally:
        gc.freeze()
        gc.enable()
    return run_daemon


if __name__ == "__main__":
    sys.exit(main())
