"""The reference page of the wall's API, made from its OpenAPI document: `python -m streams.web.api.page > docs/api.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from streams.events.tables import bounds_of, default_of, table_of, type_of
from streams.web.api.openapi import document
from streams.web.api.routes import PREFIX, ROUTES

INTRODUCTION = f"""# The wall's API

What programs can ask a wall, and what it answers. Made by `python -m streams.web.api.page > docs/api.md`, from the document
that every wall serves at `{PREFIX}/openapi.json`.

Tokens and scopes, pages of lists, times, tags and refusals: [the wall](web.md#the-api). Readers ignore fields that they do
not know; what later versions may change: [compatibility](compatibility.md#the-walls-api). Times are ISO 8601 in UTC, scores
are points (0-100). Refusals are of the type [Problem](#problem). A request:

    curl -H "Authorization: Bearer $TOKEN" 'https://wall.example{PREFIX}/streams?limit=20'"""

EXAMPLES = {
    "get /live": "/live?label=tier:premium",
    "get /openapi.json": "/openapi.json",
    "get /summary": "/summary?label=tier:premium",
    "get /health": "/health",
    "get /streams": "/streams?sort=worst&below=40&limit=20",
    "get /streams/{id}": "/streams/studio-7",
    "get /streams/{id}/scores": "/streams/studio-7/scores?from=2026-01-31T20:00:00Z&to=2026-01-31T21:00:00Z&step=10",
    "get /streams/{id}/segments": "/streams/studio-7/segments?rendition=720p&limit=50",
    "get /streams/{id}/segments/{segment_id}": "/streams/studio-7/segments/1042",
    "get /streams/{id}/pictures": "/streams/studio-7/pictures",
    "get /streams/{id}/picture.jpg": "/streams/studio-7/picture.jpg?at=1042",
    "get /streams/{id}/compare": "/streams/studio-7/compare?at=2026-01-31T20:15:04Z",
    "post /streams/{id}/segments/{segment_id}/rating": '/streams/studio-7/segments/1042/rating {"level": 2}',
    "get /alerts": "/alerts?state=all&kind=black&limit=100",
    "get /alerts/{id}": "/alerts/5d41402abc4b2a76",
    "put /alerts/{id}/ack": '/alerts/5d41402abc4b2a76/ack {"note": "encoder restarts"}',
    "delete /alerts/{id}/ack": "/alerts/5d41402abc4b2a76/ack",
    "get /groups": "/groups?by=region",
    "get /clips": "/clips?worst=true&limit=20",
    "get /clips/{id}.mp4": "/clips/3f9a77c0.mp4",
    "get /session": "/session",
    "post /session": '/session {"token": "TOKEN"}',
    "delete /session": "/session",
}
"""A request of each route, by method and path: its path after the prefix, and its body."""


def reference() -> str:
    """The page, Markdown."""
    described = document(ROUTES, PREFIX)
    lines = [INTRODUCTION, "", "## Requests"]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            lines += _operation(method, path.removeprefix(PREFIX), operation)
    lines += ["", "## Answers and bodies"]
    for name, schema in sorted(described["components"]["schemas"].items()):
        lines += ["", f"### {name}", "", " ".join(schema.get("description", "").split()), "", *table_of(schema)]
    return "\n".join(lines) + "\n"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"### {method.upper()} {path}", "")
    yield " ".join([f"{operation['summary']}.", *operation.get("description", "").split()])
    if operation.get("parameters"):
        yield from ("", "| | in | type | bounds | default | meaning |", "|---|---|---|---|---|---|")
        for parameter in operation["parameters"]:
            schema = parameter["schema"]
            default = "needed" if parameter["required"] else default_of(schema)
            cells = (f"`{parameter['name']}`", parameter["in"], type_of(schema), bounds_of(schema), default)
            words = " | ".join(cell.replace("|", "\\|") for cell in (*cells, parameter.get("description", "")))
            yield f"| {words} |"
    yield ""
    if "requestBody" in operation:
        yield f"Body: {type_of(operation['requestBody']['content']['application/json']['schema'])}."
    yield f"Answers: {', '.join(_answer(status, answer) for status, answer in operation['responses'].items())}."
    yield from ("", f"    {method.upper()} {PREFIX}{EXAMPLES[f'{method} {path}']}")


def _answer(status: str, answer: Mapping[str, Any]) -> str:
    """A status, with the type of its content where it is no refusal."""
    content = {media: part for media, part in answer.get("content", {}).items() if media != "application/problem+json"}
    kinds = [type_of(part["schema"]) if media == "application/json" else f"`{media}`" for media, part in content.items()]
    return f"{status} {' or '.join(kinds)}".strip()


if __name__ == "__main__":
    print(reference(), end="")
