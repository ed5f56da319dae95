"""Where the client and the command line find the gateway and the key: the environment, else what `regrow login` stored.

`REGROW_GRPC`, `REGROW_URL`, `REGROW_KEY` and `REGROW_CA_FILE` win over all; then comes the gateway that `regrow up` runs on
`REGROW_DATA_DIR`, where that is set; then the file, which only its owner can read. The file also keeps the admin key of each
data folder that `regrow up` started for this user, so that going back to a folder needs no new key.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

GRPC_ADDRESS = "127.0.0.1:8081"
URL = "http://127.0.0.1:8080"
_FOLDERS = "data_folders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to reach a gateway, and as whom. `ca_file` (PEM) is the authority of its certificate, where that is an own one."""

    grpc_address: str = GRPC_ADDRESS
    url: str = URL
    key: str = ""
    ca_file: str = ""


def credentials_file() -> Path:
    """The file: `$REGROW_CREDENTIALS`, else `regrow/credentials.json` in the user's configuration folder."""
    named = os.environ.get("REGROW_CREDENTIALS")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "regrow" / "credentials.json"


def stored_credentials() -> Credentials:
    """What the environment says, else the file, else a gateway on this machine without a key."""
    known = _kept()[0]
    grpc_address = os.environ.get("REGROW_GRPC") or known.grpc_address
    authority = known.ca_file if grpc_address == known.grpc_address else ""  # of that gateway alone, and it means TLS
    return Credentials(
        grpc_address=grpc_address,
        url=os.environ.get("REGROW_URL") or known.url,
        key=os.environ.get("REGROW_KEY") or known.key,
        ca_file=os.environ.get("REGROW_CA_FILE") or authority,
    )


def _kept() -> list[Credentials]:
    """Of what runs on the folder that the environment names, where its key is known, and of the login; the best first."""
    stored = _read()
    login = Credentials(**{one.name: stored.get(one.name, one.default) for one in fields(Credentials)})
    folder = os.environ.get("REGROW_DATA_DIR")
    running = credentials_of_folder(Path(folder)) if folder else None
    return [running, login] if running is not None and running.key else [login]


def credentials_of_folder(data: Path) -> Credentials | None:
    """How to reach what `regrow up` runs on a data folder, without a key where none is stored; None where nothing runs."""
    try:
        state = json.loads((data / "up.json").read_text())
    except (OSError, ValueError):
        return None
    return credentials_of(state, key_of_folder(data)) if isinstance(state, dict) and state.get("grpc") else None


def credentials_of(state: Mapping[str, Any], key: str) -> Credentials:
    """How to reach what `up.json` tells of."""
    scheme, prefix = ("https", "https://") if state.get("tls") else ("http", "")
    http, grpc = reachable(str(state.get("http", ""))), reachable(str(state.get("grpc", "")))
    return Credentials(url=f"{scheme}://{http}", grpc_address=f"{prefix}{grpc}", key=key, ca_file=state.get("ca_file", ""))


def reachable(address: str) -> str:
    """An address to call, where one listens on all interfaces."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]", "") else address


def key_for(address: str) -> str:
    """The key to use at an address: the environment's, else the stored one, but only at the gateway that it was stored for."""
    return os.environ.get("REGROW_KEY") or _kept_for(address).key


def ca_file_for(address: str) -> str:
    """The authority to trust at an address: the environment's, else the stored one at the gateway that it was stored for."""
    return os.environ.get("REGROW_CA_FILE") or _kept_for(address).ca_file


def _kept_for(address: str) -> Credentials:
    known = [stored_credentials(), *_kept()]
    return next((one for one in known if one.grpc_address == address), Credentials())


def trusting(ca_file: str) -> ssl.SSLContext:
    """For calls over HTTPS: trusts that authority, or those of the system. Raises `OSError`."""
    return ssl.create_default_context(cafile=ca_file or None)


def store_credentials(credentials: Credentials) -> Path:
    """Makes these the ones that are used from now on, and answers where they are kept."""
    return _write({**_read(), **asdict(credentials)})


def key_of_folder(data: Path) -> str:
    """The key that was stored for a data folder on this machine; empty where there is none."""
    return str(_read().get(_FOLDERS, {}).get(str(data.absolute()), ""))


def store_key_of_folder(data: Path, key: str) -> Path:
    """Keeps the key of a data folder, and answers where."""
    stored = _read()
    return _write({**stored, _FOLDERS: {**stored.get(_FOLDERS, {}), str(data.absolute()): key}})


def replace_key(old: str, new: str) -> Path | None:
    """Puts a rotated key's new secret wherever the old one is stored, and answers where; None where it is nowhere."""
    stored = _read()
    folders = {folder: new if key == old else key for folder, key in stored.get(_FOLDERS, {}).items()}
    if not old or (stored.get("key") != old and folders == stored.get(_FOLDERS, {})):
        return None
    return _write({**stored, "key": new if stored.get("key") == old else stored.get("key", ""), _FOLDERS: folders})


def _read() -> dict[str, Any]:
    try:
        stored = json.loads(credentials_file().read_text())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _write(content: Mapping[str, Any]) -> Path:
    """Replaces the file in one step, so that a reader never sees half of it. Only its owner can read it."""
    path = credentials_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(content, file, indent=2)
    temporary.replace(path)
    return path
