"""What a check found, and the command that runs a service's checks."""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import structlog
from pydantic import SecretStr

from services.common.errors import EngineUnavailable, InvalidField, InvalidFields, RegrowError
from services.common.settings import CommonSettings

Verdict = Literal["ok", "warning", "problem"]
Look = Callable[[], "Finding | Iterable[Finding]"]
SettingsT = TypeVar("SettingsT", bound=CommonSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. `todo` says how to mend what isn't ok."""

    check: str
    verdict: Verdict
    found: str
    todo: str = ""


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check=check, verdict="ok", found=found)


def warning(check: str, found: str, todo: str) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(check=check, verdict="warning", found=found, todo=todo)


def problem(check: str, found: str, todo: str = "") -> Finding:
    """It doesn't work."""
    return Finding(check=check, verdict="problem", found=found, todo=todo)


def check_if_asked(
    settings_class: type[SettingsT],
    extra: str,
    migrations: Path,
    arguments: Sequence[str] | None = None,
    *,
    own: Mapping[str, Callable[[SettingsT], Iterable[Finding]]] | None = None,
) -> None:
    """With `--check` among the arguments, prints the findings (`--json`: as JSON) and ends the process.

    The exit code is 1 where one is a problem. `extra` is the package's extra that the service is installed by; `own` are
    checks of what it alone has.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if "--check" not in given:
        return
    _be_quiet()
    # What several checks stumble on is one finding.
    findings = list(dict.fromkeys(_all(settings_class, extra, migrations, own or {})))
    if "--json" in given:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings]) + "\n")
    else:
        sys.stdout.writelines(f"{one.verdict:8} {one.check}: {one.found} {one.todo}".rstrip() + "\n" for one in findings)
    raise SystemExit(any(finding.verdict == "problem" for finding in findings))


def _all(
    settings_class: type[SettingsT],
    extra: str,
    migrations: Path,
    own: Mapping[str, Callable[[SettingsT], Iterable[Finding]]],
) -> Iterator[Finding]:
    # Here, for they import what may be missing: that is a finding, too.
    from services.common.checking import engines, machine

    yield from guarded("packages", lambda: machine.packages(extra))
    yield from misspelt(settings_class, os.environ)
    settings, wrong = readable_settings(settings_class)
    yield from wrong
    if settings is None:
        return
    if not wrong:
        yield ok("settings", "All values can be read.")
    name = settings.service_name()
    looks: dict[str, Look] = {
        "data folder": lambda: machine.data_folder(settings),
        "disk": lambda: machine.disk(settings.data_dir),
        "certificates": lambda: machine.certificates(settings, name),
        "ports": lambda: machine.ports(settings, name),
        "database": lambda: engines.database(settings, migrations),
        "event log": lambda: engines.event_log(settings),
        "objects": lambda: engines.objects(settings),
        "services": lambda: engines.peers(settings, name),
        "collector": lambda: engines.collector(settings),
        **{check: partial(look, settings) for check, look in own.items()},
    }
    for check, look in looks.items():
        if not _rests_on(check, wrong):
            yield from guarded(check, look)


def readable_settings(settings_class: type[SettingsT]) -> tuple[SettingsT | None, list[Finding]]:
    """The settings, with the defaults in place of values that can't be read, and a finding for each of those.

    None where what is wrong is no variable's value. Takes the wrong variables out of the environment of this process.
    """
    from services.common.settings import load

    for secret in _made_at_first_start(settings_class):
        os.environ[secret] = "unread" * 8  # else reading the settings would make it, and the data folder with it
    wrong: list[Finding] = []
    while True:
        try:
            return load(settings_class, []), wrong
        except (InvalidField, InvalidFields) as error:
            wrong += _of_values(error)
            if not [one for one in error.problems if os.environ.pop(one.field, None) is not None]:
                return None, wrong
        except RegrowError as error:
            return None, [*wrong, Finding(check="settings", verdict="problem", found=error.message)]


def _of_values(error: InvalidField | InvalidFields) -> list[Finding]:
    """A finding for each wrong value, by the variable that holds it."""
    told = ((one.field, one.problem.removeprefix("Value error, ").rstrip(".")) for one in error.problems)
    named = ((field if field.isupper() else f"REGROW_{field.upper()}", what) for field, what in told)
    return [problem(f"setting {variable}", f"{what}.", "Correct it, then check again.") for variable, what in named]


_SETTINGS_OF = {
    "database": r"DATABASE_URL", "event log": r"KAFKA_", "objects": r"MINIO_", "collector": r"OTLP_", "ports": r"_ADDRESS",
    "services": r"_ADDRESS", "sign-on": r"OIDC_",
}  # fmt: skip
"""Which variables a check stands on: with a default in the place of one, it would look at something that nobody meant."""


def _rests_on(check: str, wrong: Iterable[Finding]) -> bool:
    return check in _SETTINGS_OF and any(re.search(_SETTINGS_OF[check], one.check) for one in wrong)


def _made_at_first_start(settings_class: type[CommonSettings]) -> Iterator[str]:
    """The variables of secrets that a start makes and keeps where nobody set them."""
    own = str(settings_class.model_config.get("env_prefix"))
    for name, field in settings_class.model_fields.items():
        names = {f"{prefix}{name}".upper() for prefix in (own, "REGROW_")}
        names |= {f"{one}_FILE" for one in names}
        if field.annotation is SecretStr and field.default_factory is not None and not names & os.environ.keys():
            yield f"{own}{name}".upper()


_OTHERS = frozenset({
    "REGROW_GRPC", "REGROW_URL", "REGROW_KEY", "REGROW_PROJECT", "REGROW_CA_FILE", "REGROW_CREDENTIALS", "REGROW_REQUEST_ID",
    "REGROW_VERSION", "REGROW_HTTP_PORT", "REGROW_GRPC_PORT",
})  # fmt: skip
"""Variables of the client, of a run's process, and of compose.yaml."""
_NEAR = 0.75
_SERVICES = ("labeling", "training", "registry", "gateway")


def misspelt(settings_class: type[CommonSettings], environment: Iterable[str]) -> Iterator[Finding]:
    """Variables that look like settings and are none: nobody reads them, so what they should set isn't set."""
    own = str(settings_class.model_config.get("env_prefix"))
    known = {f"REGROW_{name}".upper() for name in CommonSettings.model_fields}
    known |= {f"{own}{name}".upper() for name in settings_class.model_fields}
    # Those of another service are its own check's; what all read may be set for each alone, and be named like one of these.
    others = tuple(prefix for name in _SERVICES if (prefix := f"REGROW_{name.upper()}_") != own)
    for variable in sorted(set(environment)):
        name = variable.removesuffix("_FILE")
        if not variable.startswith("REGROW_") or known & {variable, name} or variable in _OTHERS:
            continue
        if variable.startswith((*others, "REGROW_TEST_")):
            continue
        # Without what all have in common: it would make anything look like something.
        words = {one.removeprefix("REGROW_"): one for one in known}
        near = difflib.get_close_matches(name.removeprefix("REGROW_"), words, n=1, cutoff=_NEAR)
        todo = f"Did you mean {words[near[0]]}?" if near else "Unset it; --print-config lists all settings."
        yield warning("settings", f"{variable} is no setting, and nobody reads it.", todo)


_ENGINES = {
    "database": "Start it, or correct REGROW_DATABASE_URL (or REGROW_<SERVICE>_DATABASE_URL).",
    "events": "Start it, or correct REGROW_KAFKA_BOOTSTRAP and the settings REGROW_KAFKA_* beside it.",
    "objects": "Start it, or correct REGROW_MINIO_ENDPOINT and the settings REGROW_MINIO_* beside it.",
}


def guarded(check: str, look: Look) -> Iterator[Finding]:
    """A check that fails is a finding, and keeps no other from being made."""
    try:
        found = look()
        yield from [found] if isinstance(found, Finding) else list(found)
    except EngineUnavailable as error:
        engine = str(error.facts["engine"])
        yield problem(check, f"It can't be reached: {error.problem}.", _ENGINES.get(engine, f"Start {engine}."))
    except (InvalidField, InvalidFields) as error:
        yield from _of_values(error)
    except RegrowError as error:
        yield problem(check, error.message)
    except Exception as error:
        yield problem(check, f"The check itself failed: {type(error).__name__}.")


def _be_quiet() -> None:
    """What libraries log while an engine is away would hide the findings, which say it better."""
    logging.basicConfig(level=logging.CRITICAL, force=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
