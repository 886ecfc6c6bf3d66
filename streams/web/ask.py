"""Asks a running wall's API, for commands: `fvq streams ls`, `fvq alerts ls`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from streams.errors import FvqError, reason_of
from streams.text import aligned, printable

ASK_SECONDS = 15.0
LARGEST_ANSWER = 64 * 2**20
PAGE = 500

NAMES = {"/streams": {"stream_id", "smoothed"}, "/alerts": {"alert", "ack"}}
"""By path, what each item has: other programs answer at such a path with `items` too."""


class WallError(FvqError):
    """The wall does not answer, or refuses."""


@dataclass(frozen=True)
class WallAddress:
    """Where the wall is. token: sent as a bearer; None on the wall's own machine."""

    url: str
    token: str | None = field(default=None, repr=False)


def items_of(wall: WallAddress, path: str, query: Mapping[str, str | Sequence[str]], most: int) -> Iterator[dict[str, Any]]:
    """What the API lists at a path, as `/streams`, page by page, at most so many. Raises `WallError`."""
    cursor = None
    while most > 0:
        page: dict[str, str | Sequence[str]] = {**query, "limit": str(min(PAGE, most))}
        if cursor is not None:
            page["cursor"] = cursor
        answer = _get(wall, f"{path}?{urlencode(page, doseq=True)}")
        if not all(isinstance(item, dict) and item.keys() >= NAMES[path] for item in answer["items"]):
            raise _no_wall(wall)
        yield from answer["items"]
        most -= len(answer["items"])
        cursor = answer["next"]
        if cursor is None or not answer["items"]:
            return


def table_of(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Streams as lines of a table for people."""
    rows = [("stream", "score", "usual", "state", "since", "rendition", "labels")]
    for item in items:
        score, error = item["smoothed"], item["uncertainty"]
        rows.append(
            (
                printable(str(item["stream_id"])),
                "-" if score is None else f"{score:.0f}" + ("" if error is None else f" +-{error:.0f}"),
                "-" if item["usual"] is None else f"{item['usual']:.0f}",
                printable(str(item["state"])) + (" (acknowledged)" if item["acknowledged"] else ""),
                printable(str(item["since"] or "-")),
                printable(str(item["rendition"] or "-")),
                printable(" ".join(f"{name}:{value}" for name, value in sorted(item["labels"].items()))),
            )
        )
    return aligned(rows)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: urllib would send the token to wherever it is redirected to."""


def _get(wall: WallAddress, path: str) -> dict[str, Any]:
    url = f"{wall.url.rstrip('/')}/api/v1{path}"
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - an http(s) address of the settings
    if wall.token is not None:
        request.add_header("Authorization", f"Bearer {wall.token}")
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ASK_SECONDS) as answer:
            content = json.loads(answer.read(LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        raise WallError(f"the wall at {wall.url} refuses: {_detail(error)}") from error
    except RecursionError as error:
        raise _no_wall(wall) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = printable(reason_of(error))[:300]
        raise WallError(f"no wall answers at {wall.url} ({reason}): start `fvq web`, or set FVQ_WEB_URL") from error
    if not isinstance(content, dict) or not isinstance(content.get("items"), list) or "next" not in content:
        raise _no_wall(wall)
    return content


def _no_wall(wall: WallAddress) -> WallError:
    return WallError(f"what answers at {wall.url} is no wall")


def _detail(error: urllib.error.HTTPError) -> str:
    """The sentence of a refusal; it is the server's own, so it is made fit for a terminal."""
    try:
        detail = str(json.loads(error.read(100_000))["detail"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        detail = f"status {error.code}"
    remedy = ": set FVQ_WEB_TOKEN or FVQ_WEB_TOKEN_FILE" if error.code == 401 else ""
    return printable(detail)[:500] + remedy
