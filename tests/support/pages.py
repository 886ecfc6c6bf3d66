"""Read a worker's pages: `/metrics`, `/healthz`, `/readyz`."""

from __future__ import annotations

import urllib.error
import urllib.request


def read_page(port: int | str, path: str, seconds: float = 60) -> tuple[int, str]:
    """HTTP status and text of a page on 127.0.0.1, also of an error page; (0, "") while nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def metric(port: int | str, name: str) -> list[float]:
    """Values of a metric: one for each set of labels, or of the one set in `name`; none while there is no page."""
    lines = read_page(port, "/metrics")[1].splitlines()
    return [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", name + "{"))]
