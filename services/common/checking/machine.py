"""Checks of this machine: packages, the data folder, the disk, ports, clocks."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from services.common.checking.findings import Finding, ok, problem, warning
from services.common.ports import data_folder_of, holder_of, who_listens
from services.common.rpc.health import problem_of
from services.common.settings import CommonSettings
from services.common.tls import CertificateFiles, days_left, own_certificate, public_certificate
from services.common.tls.renewing import FEW_DAYS

_PYTHON = ((3, 11), (3, 13))
_GIB = 1 << 30
_LEAST_FREE, _LITTLE_FREE = 1 * _GIB, 5 * _GIB
_SKEW, _MOST_SKEW = timedelta(seconds=5), timedelta(minutes=5)
"""S3's signatures are refused from 15 minutes on; ages and orders of events are wrong long before."""


def packages(extra: str) -> Iterator[Finding]:
    """Python, and every package that the service's extra asks for, at the version that Regrow was tested with."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not _PYTHON[0] <= sys.version_info[:2] < _PYTHON[1]:
        yield problem("packages", f"Python {here}.", "Use Python 3.11 or 3.12.")
    missing, others = [], []
    wanted = list(_required(extra))
    for requirement in wanted:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            others.append(f"{requirement.name} {installed} instead of {str(requirement.specifier).removeprefix('==')}")
    if missing:
        todo = f"pip install 'regrow[{extra}]'"
        yield problem("packages", f"Not installed: {', '.join(missing)}.", todo)
    if others:
        todo = "pip install -c constraints.txt takes the versions that Regrow was tested with."
        yield warning("packages", f"Other versions: {', '.join(others)}.", todo)
    if not missing and not others:
        yield ok("packages", f"Python {here} and {len(wanted)} packages as tested.")


def _required(extra: str) -> Iterator[Requirement]:
    """Of the extra and of those that it names in turn."""
    todo, seen = [extra], set[str]()
    known = [Requirement(text) for text in requires("regrow") or []]
    while todo:
        if (one := todo.pop()) in seen:
            continue
        seen.add(one)
        for requirement in known:
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": one}):
                continue
            if requirement.name == "regrow":
                todo += requirement.extras
            elif requirement.marker is not None:
                yield requirement


def data_folder(settings: CommonSettings) -> Finding:
    """That it can be written, and that its secrets are the owner's alone."""
    folder = settings.data_dir.absolute()
    if not folder.exists():
        parent = next(one for one in folder.parents if one.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return ok("data folder", f"{folder} is made at the first start.")
        todo = "Set REGROW_DATA_DIR to a folder that this user may write."
        return problem("data folder", f"{folder} can't be made in {parent}.", todo)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        owner = folder.owner()
        todo = f"Run as {owner}, or: chown -R {os.geteuid()} {folder}"
        return problem("data folder", f"{folder} is {owner}'s and can't be written.", todo)
    token = folder / "internal.token"
    if token.exists() and stat.S_IMODE(token.stat().st_mode) & 0o077:
        todo = f"chmod 600 {token}, and make a new one: delete it while nothing runs."
        return problem("data folder", f"Others can read {token}, which opens every service.", todo)
    return ok("data folder", f"{folder} can be written.")


def disk(folder: Path) -> Finding:
    """Of the file system that holds the data folder."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    usage = shutil.disk_usage(there)
    found = f"{usage.free / _GIB:.1f} GiB of {usage.total / _GIB:.0f} GiB are free."
    if usage.free < _LEAST_FREE:
        return problem("disk", found, "Free some now: imports and appends fail on a full disk.")
    if usage.free < _LITTLE_FREE:
        return warning("disk", found, "Free some, or move the data folder to a larger disk.")
    return ok("disk", found)


def ports(settings: CommonSettings, service: str) -> Iterator[Finding]:
    """Free, or the service itself."""
    addresses = {
        "labeling": [settings.labeling_address], "training": [settings.training_address],
        "registry": [settings.registry_address], "gateway": [settings.gateway_grpc_address, settings.gateway_http_address],
    }[service]  # fmt: skip
    certificate = public_certificate(settings) if service == "gateway" else own_certificate(settings)
    for address in addresses:
        port = int(address.rpartition(":")[2])
        holder = who_listens(port) or _somebody(_local(address))
        if not holder:
            yield ok("ports", f"{address} is free.")
        elif f"services.{service}" not in holder:
            yield problem("ports", f"{address} is taken by {holder}.", "Stop it, or choose another address.")
        elif other := _other_folder(settings, service, port):
            todo = f"Stop it (`regrow down --data {other}`), or choose another address (`regrow up --free-ports`)."
            yield problem("ports", f"{address} is taken by another Regrow, whose data is in {other} ({holder}).", todo)
        elif address == addresses[0] and (wrong := problem_of(_local(address), certificate=certificate, itself=True)):
            yield warning("ports", f"It runs, but {wrong}", "The findings below say why.")
        else:
            yield ok("ports", f"It runs and answers on {address}.")


def _other_folder(settings: CommonSettings, service: str, port: int) -> Path | None:
    """The data folder of whoever holds the port, where it is another one than that of the settings."""
    pid = holder_of(port)
    folder = None if pid is None else data_folder_of(pid, service, type(settings).model_fields["data_dir"].default)
    return folder if folder is not None and folder != settings.data_dir.resolve() else None


def certificates(settings: CommonSettings, service: str) -> Iterator[Finding]:
    """That they can be used, and for how long; that their keys are the owner's alone."""
    shown = {"certificate": own_certificate(settings)}
    if service == "gateway":
        shown["public certificate"] = public_certificate(settings)
    for check, files in shown.items():
        if files is not None:
            yield _certificate(check, files)


def _certificate(check: str, files: CertificateFiles) -> Finding:
    current = files.current()
    found = f"{files.cert} is good until {current.ends:%Y-%m-%d}."
    if stat.S_IMODE(files.key.stat().st_mode) & 0o007:
        return warning(check, f"Everybody on this machine can read {files.key}.", f"chmod 600 {files.key}")
    if days_left(current) < FEW_DAYS:
        todo = "Put a new one there: it is taken up without a restart."
        return warning(check, f"{files.cert} ends in {days_left(current)} days.", todo)
    return ok(check, found)


def clock(check: str, theirs: datetime, asked: datetime, answered: datetime) -> Finding:
    """How far a clock is from ours, given when it was asked and had answered."""
    skew = abs(theirs.astimezone(UTC) - (asked + (answered - asked) / 2))
    found = f"Its clock is {skew.total_seconds():.1f} s from this machine's."
    if skew <= _SKEW:
        return ok(check, found)
    todo = "Set both by NTP: ages, retention and signatures of requests depend on it."
    return problem(check, found, todo) if skew > _MOST_SKEW else warning(check, found, todo)


def _somebody(address: str) -> str:
    """Whoever listens there, where the system doesn't tell who."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as caller:
        caller.settimeout(1.0)
        return "a process of another user" if caller.connect_ex((host.strip("[]"), int(port))) == 0 else ""


def _local(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]", "") else address
