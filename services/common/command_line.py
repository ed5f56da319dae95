"""What stands behind `python -m services.<service>`: a few switches, told by `--help`. Anything else is refused, for a
service that starts all the same takes the settings' ports and databases.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence

_SETTINGS = """Settings come from the environment: {own}* for this service alone, REGROW_* for all; NAME_FILE names a file that
holds the value of NAME. --print-config lists them with what they mean. Exit codes: 0, 1 where --check found a problem, 2 for
wrong arguments, 78 for wrong settings."""


def read_command_line(
    service: str, about: str, *, commands: Mapping[str, str] | None = None, arguments: Sequence[str] | None = None
) -> None:
    """Ends the process for `--help` (0) and for what the service doesn't take (2).

    `about` says what the service is, `commands` what it does instead of serving, by words (`keys reset`). `arguments` are those
    of the process unless given.
    """
    known = commands or {}
    parser = _parser(service, about, known)
    given = parser.parse_args(arguments)
    words = " ".join(given.words)
    if words and words not in known:
        parser.error(f"'{words}' is no command: say nothing to serve, or {' or '.join(map(repr, known))}")
    if given.json and not given.check:
        parser.error("--json goes with --check")


def _parser(service: str, about: str, commands: Mapping[str, str]) -> ArgumentParser:
    settings = _SETTINGS.format(own=f"REGROW_{service.upper()}_")
    listed = "".join(f"  {words:22}{does}\n" for words, does in commands.items())
    parser = ArgumentParser(
        prog=f"python -m services.{service}", description=about, allow_abbrev=False,
        epilog=f"commands:\n{listed}\n{settings}" if listed else settings, formatter_class=RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(words=[])
    if commands:
        parser.add_argument("words", nargs="*", metavar="command", help="what to do instead of serving")
    parser.add_argument("--check", action="store_true", help="look at all that the service needs, say what to do, and end")
    parser.add_argument("--json", action="store_true", help="with --check: the findings as JSON")
    parser.add_argument("--print-config", action="store_true", help="print all settings, secrets masked, and end")
    return parser
