"""The calls that an app in any language would make: curl where it is installed, else the same request by urllib."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A gateway's REST side, and the key to it."""

    url: str
    key: str

    def line(self, path: str, body: Mapping[str, Any] | None = None) -> str:
        """The curl line, with the key as a shell variable."""
        data = f" -d {shlex.quote(json.dumps(body, ensure_ascii=False))}" if body is not None else ""
        return f'curl -s -H "Authorization: Bearer $REGROW_KEY" {self.url}{path}{data}'

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer: a POST where there is a body, else a GET. Raises `RuntimeError` with the error's JSON."""
        answer: dict[str, Any] = json.loads(self._by_curl(path, body) if shutil.which("curl") else self._by_urllib(path, body))
        if "error" in answer:
            raise RuntimeError(json.dumps(answer["error"]))
        return answer

    def _by_curl(self, path: str, body: Mapping[str, Any] | None) -> bytes:
        # The key and the body go in by files, where no list of processes shows them.
        config = f'header = "Authorization: Bearer {self.key}"\n'
        if body is not None:
            text = json.dumps(body, ensure_ascii=False).replace("\\", "\\\\").replace('"', '\\"')
            config += f'data-raw = "{text}"\n'
        command = ["curl", "--silent", "--show-error", "--max-time", "60", "--config", "-", f"{self.url}{path}"]
        done = subprocess.run(command, input=config.encode(), capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def _by_urllib(self, path: str, body: Mapping[str, Any] | None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content: bytes = answer.read()
        except urllib.error.HTTPError as refusal:
            content = refusal.read()
        return content
