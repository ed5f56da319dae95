"""Path templates and their matching, for every route of the protos."""

from __future__ import annotations

import pytest

from services.common.errors import InvalidField
from services.gateway.methods import public_methods
from services.gateway.routes import Router, compile_template

ROUTER = Router(public_methods().values())


@pytest.mark.parametrize("route", ROUTER.routes, ids=lambda one: f"{one.binding.verb} {one.binding.template}")
def test_every_route_leads_to_its_own_call_with_its_own_values(route) -> None:
    path = "/" + "/".join(f"v{i}" if part == "*" else part for i, part in enumerate(route.template.segments))
    found = ROUTER.find(route.binding.verb, path + (f":{route.template.verb}" if route.template.verb else ""))
    assert found.route is not None
    assert found.route.method.path == route.method.path
    for field, start, end in route.template.variables:
        assert found.values[field] == "/".join(path.split("/")[1 + start : 1 + end])


def test_no_two_routes_take_the_same_paths() -> None:
    shapes = [(route.binding.verb, route.template.segments, route.template.verb) for route in ROUTER.routes]
    assert len(shapes) == len(set(shapes))


def test_a_template_is_segments_variables_and_a_verb() -> None:
    template = compile_template("/v1/{policy.name=projects/*/policies/*}:go")
    assert (template.segments, template.verb) == (("v1", "projects", "*", "policies", "*"), "go")
    assert template.variables == (("policy.name", 1, 5),)
    assert compile_template("/v1/{id}").variables == (("id", 1, 2),)


@pytest.mark.parametrize("path", ["/v1/projects//datasets/d", "/v1/projects/p/datasets/", "/v1/", "/", "/v1/projects/p/"])
def test_empty_segments_match_nothing(path: str) -> None:
    assert ROUTER.find("GET", path).route is None


def test_an_encoded_slash_or_nul_is_refused() -> None:
    for path in ("/v1/projects/a%2Fb", "/v1/projects/a%00b", "/v1/projects/%C3"):
        with pytest.raises(InvalidField):
            ROUTER.find("GET", path)
