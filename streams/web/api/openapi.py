"""The OpenAPI 3.1 document, made from the table of routes and the shapes of queries, bodies and answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from streams.web.access.tokens import SCOPES
from streams.web.api.problems import Problem
from streams.web.api.queries import LabelQuery
from streams.web.api.table import Route

REF = "#/components/schemas/{model}"

NEXT_PAGE = {"Link": {"schema": {"type": "string"}, "description": "Of CSV: the next page's address, `rel=next`."}}

RETRY_AFTER = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}


def document(routes: Sequence[Route], prefix: str) -> dict[str, Any]:
    """The document. prefix: the path before every route's."""
    models = {model for route in routes for model in (route.answer, route.body) if model is not None} | {Problem}
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)], ref_template=REF
    )
    paths: dict[str, dict[str, Any]] = {prefix + path: {"get": operation} for path, operation in _beside().items()}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fvq-monitor",
            "version": version("fvq-monitor"),
            "description": "Which streams look bad now, since when and why. Readers ignore fields that they do not know.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": f"Scopes: {', '.join(SCOPES)}."},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-fvq"},
            },
        },
    }


def _beside() -> dict[str, dict[str, Any]]:
    """What is not in the table: this document, and the socket, whose frames OpenAPI cannot describe."""
    socket = {
        "operationId": "get_live",
        "summary": "The WebSocket: a snapshot of the fleet, then what changes",
        "description": "Subprotocol `fvq.v1`. Needs the scope `read`; who is not signed in sends "
        '`{"type":"hello","token":"..."}` within 5 seconds. The frames are described in docs/web.md.',
        "parameters": _query_parameters(LabelQuery),
        "responses": {"101": {"description": HTTPStatus(101).phrase}, **_refusals((400, 403, 426, 503))},
        "security": [{"token": []}, {"session": []}, {}],
    }
    document = {
        "operationId": "get_openapi_json",
        "summary": "This document",
        "responses": {
            "200": {"description": HTTPStatus(200).phrase, "content": {"application/json": {"schema": {"type": "object"}}}},
            "304": {"description": HTTPStatus(304).phrase},
            **_refusals((403,)),
        },
        "security": [],
    }
    return {"/live": socket, "/openapi.json": document}


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{re.sub(r'[^a-z_]+', '_', route.path).strip('_')}",
        "summary": route.summary,
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": _responses(route),
        "security": [] if route.scope is None else [{"token": []}, {"session": []}],
    }
    if route.scope is not None:
        operation["description"] = f"Needs the scope `{route.scope}`."
    if route.body is not None:
        required = any(value.is_required() for value in route.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": {"application/json": {"schema": _ref(route.body)}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    """What a path's braces stand for; the noun before them says whose id it is."""
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            "description": f"The {noun}'s id, percent-encoded.",
        }
        for noun, name in re.findall(r"/(\w+)s/\{(\w+)\}", path)
    ]


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    schema = query.model_json_schema()
    parameters = []
    for name, value in schema.get("properties", {}).items():
        described = {key: part for key, part in value.items() if key not in ("title", "description")}
        if "anyOf" in described:
            # A parameter that is not given is null here; in a query there is no null.
            described |= next(part for part in described.pop("anyOf") if part.get("type") != "null")
            described.pop("default", None)
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": described}
        if "description" in value:
            parameter["description"] = value["description"]
        parameters.append(parameter)
    return parameters


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in route.statuses:
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
        if status < 204 or status == 206:
            responses[str(status)]["content"] = _content(route)
            if route.csv and "cursor" in route.query.model_fields:
                responses[str(status)]["headers"] = NEXT_PAGE
    refusals = {*route.errors, 400, 403, 429} | ({401} if route.scope is not None or route.path == "/session" else set())
    if route.needs_state or route.path.startswith("/clips"):
        refusals.add(503)
    return responses | _refusals(refusals)


def _refusals(statuses: Iterable[int]) -> dict[str, Any]:
    return {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": _ref(Problem)}},
            **({"headers": RETRY_AFTER} if status in (429, 503) else {}),
        }
        for status in sorted(statuses)
    }


def _content(route: Route) -> dict[str, Any]:
    if route.answer is None:
        return {route.media: {"schema": {"type": "string", "contentMediaType": route.media}}}
    content: dict[str, Any] = {route.media: {"schema": _ref(route.answer)}}
    if route.csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    return content


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}
