"""The reference page of the wall's API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from streams.events.tables import bounds_of
from streams.web.api.openapi import document
from streams.web.api.page import EXAMPLES, reference
from streams.web.api.queries import LabelQuery
from streams.web.api.routes import PREFIX, ROUTES
from streams.web.api.table import Route
from tests.support.processes import ROOT

PAGE = reference()
UNIT = re.compile(
    r"\b([Ss]econds|ms|[Pp]oints|Pixels|Bit/s|LUFS|dBFS|[Ss]hare|[Nn]umber of|Streams|Segments|Alerts|a second|minute)\b"
    r"|\b(unit|version|quantiser|[Pp]osition)\b|[0-9]-[0-9]"
)
"""What tells how a number is counted."""

BY_NAME = {f"{route.method.lower()} {route.path}": route for route in ROUTES}


def test_the_page_is_current() -> None:
    assert (ROOT / "docs/api.md").read_text() == PAGE, "run: python -m streams.web.api.page > docs/api.md"


def undescribed(described: Mapping[str, Any]) -> list[str]:
    """Fields and parameters of an OpenAPI document that say nothing of what they mean."""
    schemas: Mapping[str, Any] = described["components"]["schemas"]
    fields = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, part in schema.get("properties", {}).items()
        if not part.get("description")
    ]
    parameters = [
        f"{method} {path} {parameter['name']}"
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        for parameter in operation.get("parameters", ())
        if not parameter.get("description")
    ]
    return [*fields, *parameters, *(name for name, schema in schemas.items() if not schema.get("description"))]


def test_every_field_and_every_parameter_says_what_it_means() -> None:
    assert undescribed(document(ROUTES, PREFIX)) == []


def test_a_number_says_its_unit_or_its_range() -> None:
    schemas = document(ROUTES, PREFIX)["components"]["schemas"]
    bare = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, part in schema.get("properties", {}).items()
        if is_number(part) and not (bounds_of(part) or UNIT.search(part.get("description", "")))
    ]
    assert bare == []


def is_number(part: Mapping[str, Any]) -> bool:
    return any(kind.get("type") in ("number", "integer") for kind in (part, *part.get("anyOf", ())))


def test_every_operation_has_an_example() -> None:
    paths = document(ROUTES, PREFIX)["paths"]
    assert set(EXAMPLES) == {f"{method} {path.removeprefix(PREFIX)}" for path, item in paths.items() for method in item}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "get /openapi.json"])
def test_an_example_is_a_request_that_its_route_takes(name: str) -> None:
    path, _, body = EXAMPLES[name].partition(" ")
    route: Route | None = BY_NAME.get(name)
    query = route.query if route is not None else LabelQuery
    fields = {field.alias or key: field for key, field in query.model_fields.items()}
    given = parse_qs(urlsplit(path).query)
    query.model_validate({key: values if "list" in str(fields[key].annotation) else values[0] for key, values in given.items()})
    if route is not None and route.body is not None:
        route.body.model_validate_json(body)
    else:
        assert not body


def test_a_row_has_type_bounds_default_and_meaning() -> None:
    assert "| `limit` | query | whole number | at least 1, at most 1000 | `100` | Most items of a page. |" in PAGE
    assert "| `id` | path | text | at least 1 character(s) | needed |" in PAGE
    assert "| `below` | query | number | at least 0, at most 100 |  | Only streams with a smoothed score under this. |" in PAGE
    assert "Answers: 200 [StreamList](#streamlist) or `text/csv`, 400, 401" in PAGE
