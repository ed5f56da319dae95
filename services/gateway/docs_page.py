"""`/docs`: a page to read the API and to try it. Swagger UI from its package and our own document; nothing from another host.

The page may load from this host alone, sends no key anywhere else, and keeps none when it is closed.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from services.gateway.methods import Method

_PACKAGE = "flask_swagger_ui"
_ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "favicon-32x32.png")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Swagger UI writes styles into its elements, hence 'unsafe-inline' for them; scripts come from this host's files alone."""
_GUARDS = {
    "content-security-policy": _POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}  # fmt: skip
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Regrow: the API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/page.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The document that it shows is <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/page.js"></script>
</body>
</html>
"""
_STYLE = """body { margin: 0; background: #fafafa; }
.dark-mode body { background: #1c2022; }
.swagger-ui .topbar .topbar-wrapper .link, .swagger-ui .topbar .download-url-wrapper { display: none; }
.swagger-ui .topbar .topbar-wrapper { justify-content: flex-end; }
.swagger-ui .topbar { padding: 4px 0; }
"""
_SCRIPT = """window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    docExpansion: "none",
    filter: true,
    displayRequestDuration: true,
    persistAuthorization: false,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    layout: "StandaloneLayout",
  });
});
"""


@cache
def docs_url(method: Method) -> str:
    """Where the page shows a call."""
    return f"/docs#/{method.service.rpartition('.')[2]}/{method.name}"


def docs_routes() -> list[Route]:
    """The page, its own style and script, and the assets that it names; no other file of the package."""
    home = _home()

    async def page(_: Request) -> Response:
        return Response(_PAGE, media_type="text/html; charset=utf-8", headers={**_GUARDS, "cache-control": "no-cache"})

    async def own(request: Request) -> Response:
        style = request.url.path.endswith(".css")
        kind = "text/css" if style else "text/javascript"
        return Response(_STYLE if style else _SCRIPT, media_type=f"{kind}; charset=utf-8", headers=_GUARDS)

    async def asset(request: Request) -> Response:
        kept = {**_GUARDS, "cache-control": "public, max-age=86400"}
        return FileResponse(home / request.url.path.rpartition("/")[2], headers=kept)

    return [
        Route("/docs", page, methods=["GET"]),
        Route("/docs/page.css", own, methods=["GET"]),
        Route("/docs/page.js", own, methods=["GET"]),
        *(Route(f"/docs/{name}", asset, methods=["GET"]) for name in _ASSETS),
    ]


def _home() -> Path:
    """The folder of the package's assets. Found without importing it: of Flask, which it is for, nothing is used."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"The package {_PACKAGE} isn't installed; regrow[gateway] brings it.")
    return Path(spec.submodule_search_locations[0]) / "dist"
