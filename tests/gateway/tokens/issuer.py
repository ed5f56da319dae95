"""An identity provider on loopback: discovery, keys, and tokens signed with them."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

AUDIENCE = "regrow"
_RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})


class Issuer:
    """Belongs to one test; `stop` ends it."""

    def __init__(self) -> None:
        self.keys: list[Key] = [_RSA]
        self.asked: list[str] = []
        self.down = False
        self.documents: dict[str, Any] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                content = outer.documents.get(self.path)
                if content is None and not outer.down:
                    content = outer.document(self.path)
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(503 if outer.down else 302 if content == b"" else 200)
                if content == b"":
                    self.send_header("location", f"{outer.url}/keys")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def document(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def rotate(self, kid: str) -> None:
        """A new key in place of those before."""
        self.keys = [ECKey.generate_key("P-256", {"kid": kid})]

    def token(self, *, key: Key | None = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A good token of `ann` in group `shop-team`, but for `changes`; a claim that is None is left out."""
        moment = int(time.time())
        claims = {
            "iss": self.url, "aud": AUDIENCE, "sub": "user-17", "preferred_username": "ann", "groups": ["shop-team", "other"],
            "iat": moment, "nbf": moment, "exp": moment + 300, **changes,
        }  # fmt: skip
        signer = key or self.keys[0]
        algorithm = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}[signer.key_type]
        written = {"alg": algorithm, "kid": signer.kid, **(header or {})}
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(written, kept, signer, algorithms=["RS256", "ES256", "HS256"])

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
