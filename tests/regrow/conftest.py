from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the credentials of the person who runs it."""
    monkeypatch.setenv("REGROW_CREDENTIALS", str(tmp_path / "credentials.json"))
    for name in ("REGROW_GRPC", "REGROW_URL", "REGROW_KEY", "REGROW_PROJECT", "REGROW_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
