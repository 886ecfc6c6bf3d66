"""Exit code 0 if this container's page answers 200: what the images' HEALTHCHECK runs, because they have no curl.

    python healthcheck.py [PORT [PATH]]

Without a port: FVQ_WEB_PORT, or 8080. Without a path: /healthz.
"""

import os
import sys
import urllib.request

SECONDS = 8
"""Longest time that an answer may take; below the timeout of HEALTHCHECK."""


def main(arguments: list[str]) -> None:
    """Ask for the page; raises where it does not answer 200, so that Python ends with exit code 1 and says why."""
    port = arguments[0] if arguments else os.environ.get("FVQ_WEB_PORT", "8080")
    path = arguments[1] if len(arguments) > 1 else "/healthz"
    # An environment's proxy must not be asked for this container's own page.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=SECONDS) as answer:
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status}")


main(sys.argv[1:])
