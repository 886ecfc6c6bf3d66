"""The reference page of the wall's API."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from streams.web.api.openapi import document
from streams.web.api.page import EXAMPLES, reference
from streams.web.api.queries import LabelQuery
from streams.web.api.routes import PREFIX, ROUTES
from streams.web.api.table import Route
from tests.support.processes import ROOT

PAGE = reference()
BY_NAME = {f"{route.method.lower()} {route.path}": route for route in ROUTES}


def test_the_page_is_current() -> None:
    assert (ROOT / "docs/api.md").read_text() == PAGE, "run: python -m streams.web.api.page > docs/api.md"


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
