"""`fvq serve --ray` from its start to its end, in one process that may be in a network of its own; prints what it saw as JSON.

    unshare -n sh -c 'ip link set lo up; exec python -m tests.support.ray_check FOLDER'

The code is 3 where Ray cannot start; what is printed then is why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from scorer.load import load_engine
from scorer.registry import Registry
from scorer.remote.wire import pack
from tests.support.serve_process import SPEC, clips_of, fvq_serve, variant
from tests.support.waiting import wait_for

START_SECONDS = 240.0
CANNOT_START = 3


def main() -> int:
    """Run the check; returns the exit code."""
    folder = Path(sys.argv[1])
    seen: dict[str, Any] = {}
    clips = clips_of(8)
    body = pack(clips, SPEC)
    registry = Registry(str(folder / "registry"), folder / "cache")
    registry.publish("nano", "stricter", variant(folder / "stricter", -1.0))
    log = folder / "serve.log"
    try:
        with fvq_serve(folder, "--ray", seconds=START_SECONDS) as served:
            seen["statuses"] = {
                "score": served.request("POST", "/v1/score", body)[0],
                "no token": served.request("POST", "/v1/score", body, token="wrong")[0],
                "bad body": served.request("POST", "/v1/score", body[:-1])[0],
                "no path": served.request("GET", "/nothing")[0],
            }
            registry.promote("nano", "stricter")
            wait_for("the new version", lambda: served.version() == "stricter", 150)
            _, document = served.request("POST", "/v1/score", body)
            seen["scores"] = [score["score"] for score in document["scores"]]
            seen["code"] = served.process.terminate(90)
    except BaseException:
        words = log.read_text().splitlines() if log.exists() else []
        reasons = [line for line in words if "Ray does not start" in line or "Ray Serve cannot start" in line]
        if seen or not reasons:
            raise
        print(reasons[-1])
        return CANNOT_START
    seen["expected"] = [score.score for score in load_engine(str(folder / "stricter"), "cpu").score(clips)]
    print(json.dumps(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
