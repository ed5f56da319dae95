"""What the gateway serves beside the calls: an index, its health, its metrics and the API document. None needs a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.errors import NotFound, RegrowError
from services.common.rpc.principal import REQUEST_ID_KEY, request_id_from
from services.common.rpc.status import error_body, to_status
from services.gateway.compressing import compressed
from services.gateway.docs_page import docs_routes
from services.gateway.http import VerbNotAllowed
from services.gateway.openapi import document
from services.gateway.system import System, software_version

_INDEX = {
    "api": "/openapi.json",
    "docs": "/docs",
    "calls": "/v1/",
    "open_inference_protocol": "/v2",
    "live": "/healthz",
    "ready": "/readyz",
    "metrics": "/metrics",
    "authentication": "Authorization: Bearer <key>",
}


def make_app(system: System, rest: ASGIApp, inference: ASGIApp, *, public_metrics: bool) -> ASGIApp:
    """Calls go straight to `rest`, those of the Open Inference Protocol to `inference`; the rest is Starlette's."""
    pages = _pages(system, public_metrics)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await pages(scope, receive, send)
        elif scope["path"].startswith("/v1/"):
            await rest(scope, receive, send)
        elif scope["path"].startswith("/v2/") or scope["path"] == "/v2":
            await inference(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return app


def _pages(system: System, public_metrics: bool) -> Starlette:
    shown = {name: where for name, where in _INDEX.items() if public_metrics or name != "metrics"}

    async def index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):  # a person with a browser
            return RedirectResponse("/docs", 303, headers={"vary": "accept"})
        return _json({"name": "regrow", "version": software_version(), **shown})

    async def live(_: Request) -> Response:
        return _json({"live": True})

    async def ready(_: Request) -> Response:
        found = await system.readiness()
        missing = [{"name": name, "problem": problem} for name, problem in sorted(found.missing.items())]
        return _json({"ready": found.ready, "missing": missing}, 200 if found.ready else 503)

    async def metrics(request: Request) -> Response:
        return await _large(request, generate_latest(), CONTENT_TYPE_LATEST)

    async def api(request: Request) -> Response:
        return await _large(request, document(software_version()), "application/json")

    async def missing(request: Request, _: Exception) -> Response:
        return _failure(request, NotFound("page", request.url.path[:200], "/openapi.json lists all calls."), 404)

    async def wrong_verb(request: Request, told: Exception) -> Response:
        assert isinstance(told, HTTPException) and told.headers is not None
        problem = f"{request.url.path[:200]} takes {told.headers['Allow'].replace(', ', ' or ')}, not {request.method}."
        return _failure(request, VerbNotAllowed(problem), 405, told.headers)

    pages: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/": index, "/healthz": live, "/readyz": ready, "/openapi.json": api,
    }  # fmt: skip
    if public_metrics:
        pages["/metrics"] = metrics
    routes = [Route(path, page, methods=["GET"]) for path, page in pages.items()]
    return Starlette(routes=[*routes, *docs_routes()], exception_handlers={404: missing, 405: wrong_verb})


async def _large(request: Request, content: bytes, kind: str) -> Response:
    sent, headers = await compressed(content, request.headers.get("accept-encoding", "").encode("latin-1"))
    return Response(sent, media_type=kind, headers={name.decode(): value.decode() for name, value in headers})


def _failure(request: Request, error: RegrowError, status: int, headers: Mapping[str, str] | None = None) -> Response:
    request_id = request_id_from({REQUEST_ID_KEY: request.headers.get(REQUEST_ID_KEY, "")})
    body = error_body(to_status(error, request_id))
    body["error"]["code"] = status
    return _json(body, status, headers)


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    own = {"cache-control": "no-store", **(headers or {})}
    return Response(orjson.dumps(content), status, media_type="application/json", headers=own)
