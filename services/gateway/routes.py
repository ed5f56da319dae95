"""Path templates of `google.api.http`, compiled and matched.

`/v1/{name=projects/*/datasets/*}:updateSchema` matches segment by segment on the path as it was sent: a percent-encoded
slash can't reach into another segment, and a custom verb is whatever follows the last colon of the last segment.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from services.common.errors import InvalidField
from services.gateway.methods import Binding, Method

_VARIABLE = re.compile(r"\{([\w.]+)(?:=([^}]*))?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A compiled path. `segments` are literals or `*`; `variables` are (field path, first segment, segment behind the last)."""

    segments: tuple[str, ...]
    verb: str
    variables: tuple[tuple[str, int, int], ...]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """The variables' values, or None where the path is another one. Both have the same number of segments."""
        for own, sent in zip(self.segments, segments, strict=True):
            if own != sent and own != "*":
                return None
        return {field: "/".join(segments[start:end]) for field, start, end in self.variables}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One way to one call."""

    method: Method
    binding: Binding
    template: Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a path means: the route with its variables, or the verbs that this path would take."""

    route: Route | None = None
    values: Mapping[str, str]
    allowed: tuple[str, ...] = ()


def compile_template(text: str) -> Template:
    """Reads a template. `**` isn't used by Regrow's protos and is refused."""
    segments: list[str] = []
    variables: list[tuple[str, int, int]] = []
    path, _, verb = text.rpartition(":") if ":" in text.rpartition("/")[2].rpartition("}")[2] else (text, "", "")
    rest = path.removeprefix("/")
    while rest:
        variable = _VARIABLE.match(rest)
        if variable:
            inside = (variable[2] or "*").split("/")
            variables.append((variable[1], len(segments), len(segments) + len(inside)))
            segments += inside
            rest = rest[variable.end() :].removeprefix("/")
        else:
            segment, _, rest = rest.partition("/")
            segments.append(segment)
    if "**" in segments:
        raise ValueError(f"{text!r}: '**' is not supported")
    return Template(segments=tuple(segments), verb=verb, variables=tuple(variables))


class Router:
    """All routes, found by verb, number of segments and custom verb; among several, the one with most literals wins."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self.routes: list[Route] = []
        self._index: dict[tuple[int, str], list[Route]] = {}
        for method in methods:
            for binding in method.bindings:
                self.add(method, binding)

    def add(self, method: Method, binding: Binding) -> None:
        """One more way to a call."""
        route = Route(method=method, binding=binding, template=compile_template(binding.template))
        self.routes.append(route)
        similar = self._index.setdefault((len(route.template.segments), route.template.verb), [])
        insort(similar, route, key=lambda one: one.template.segments.count("*"))

    def find(self, verb: str, raw_path: str) -> Found:
        """Raises `InvalidField` for a path that can't be decoded."""
        *before, last = raw_path.removeprefix("/").split("/")
        last, _, custom = last.partition(":")
        segments = [_decoded(segment) for segment in (*before, last)]
        others: list[str] = []
        for route in self._index.get((len(segments), custom), ()):
            values = route.template.match(segments) if all(segments) else None
            if values is not None and route.binding.verb == verb:
                return Found(route=route, values=values)
            if values is not None:
                others.append(route.binding.verb)
        return Found(values={}, allowed=tuple(dict.fromkeys(others)))


def _decoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        text = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidField("path", "isn't UTF-8 behind its percent signs.") from None
    if "/" in text or "\0" in text:
        raise InvalidField("path", "holds an encoded slash or NUL, which no name of Regrow has.")
    return text
