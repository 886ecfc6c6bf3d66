"""Exit code 0 if this container's page answers 200: what the images' HEALTHCHECK runs, because they have no curl.

    python healthcheck.py [PORT [PATH]]

Without a port: FVQ_WEB_PORT, or 8080. Without a path: /healthz. The page may listen on loopback or where a setting says.
"""

import os
import re
import sys
import urllib.error
import urllib.request

SECONDS = 8
"""Longest time that an answer may take; below the timeout of HEALTHCHECK."""


def hosts() -> list[str]:
    """Where the page may listen: loopback of either kind, and the addresses that settings name."""
    named = [value for name, value in sorted(os.environ.items()) if value and re.fullmatch(r"FVQ_\w+_HOST", name)]
    return [f"[{host}]" if ":" in host else host for host in dict.fromkeys(["127.0.0.1", "::1", *named])]


def main(arguments: list[str]) -> None:
    """Ask for the page, and end this process: with exit code 1, and why, where it does not answer 200."""
    port = arguments[0] if arguments else os.environ.get("FVQ_WEB_PORT", "8080")
    path = arguments[1] if len(arguments) > 1 else "/healthz"
    # An environment's proxy must not be asked for this container's own page.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    problems = []
    for host in hosts():
        try:
            with opener.open(f"http://{host}:{port}{path}", timeout=SECONDS) as answer:
                sys.exit(0 if answer.status == 200 else f"{path}: {answer.status}")
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError as error:
            # Nobody listens there.
            problems.append(f"{host}:{port}: {error.reason}")
    sys.exit("\n".join(problems))


main(sys.argv[1:])
