"""A running `fvq serve` with the real `nano`, and versions of it."""

from __future__ import annotations

import http.client
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from scorer.find import SHIPPED
from scorer.remote.wire import MEDIA_TYPE
from scorer.runtime.export import export_graph
from scorer.runtime.graph import GRAPH_FILE
from scorer.sampling.statistics import names_of
from scorer.spec import ModelInput, SamplerSpec
from tests.support.doubles import make_clip
from tests.support.processes import FVQ, Worker
from tests.support.waiting import wait_for

NANO = SHIPPED["nano"]
SPEC = SamplerSpec.load(NANO)
STATISTICS = len(names_of(SPEC.statistics_version))
TOKEN = "a-token-for-tests"


def clips_of(count: int) -> list[ModelInput]:
    return [make_clip(60 + 20 * number, number, SPEC, STATISTICS) for number in range(count)]


@dataclass
class Served:
    """A running `fvq serve`."""

    process: Worker
    port: int

    def request(self, method: str, path: str, body: bytes | None = None, token: str = TOKEN) -> tuple[int, Any]:
        """The status and the parsed body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {token}"} | ({"Content-Type": MEDIA_TYPE} if body else {})
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text.decode()

    def ready(self) -> bool:
        try:
            return self.request("GET", "/healthz")[0] == 200
        except OSError:
            return False

    def version(self) -> str:
        return str(self.request("GET", "/v1/model")[1]["version"])


@contextmanager
def fvq_serve(folder: Path, *options: str, seconds: float = 90, **settings: str) -> Iterator[Served]:
    """`fvq serve` on a free port, ready within so many seconds. folder: for its log, its data and its registry."""
    settings = {"FVQ_SERVE_PORT": "0", "FVQ_REGISTRY": str(folder / "registry"), "FVQ_SCORER_TOKEN": TOKEN} | settings
    process = Worker("serve", folder, command=[FVQ, "serve", *options], **settings).start()

    def port() -> int:
        match = re.search(r"listens at http://127\.0\.0\.1:(\d+)", process.log.read_text())
        return int(match[1]) if match else 0

    try:
        wait_for("the server listens or ends", lambda: port() > 0 or not process.running, seconds)
        served = Served(process, port())
        wait_for("the model is loaded", served.ready, seconds)
        yield served
        if process.running:
            process.terminate(60)  # Ray's processes and files are removed by the one that started them
    except BaseException:
        print(process.tail())
        raise
    finally:
        process.kill()


def variant(folder: Path, bias: float, spec: SamplerSpec = SPEC) -> Path:
    """`nano` with another bias of its head, and so other scores. With a bias that is no number it has no graph."""
    shutil.copytree(NANO, folder, ignore=shutil.ignore_patterns(GRAPH_FILE))
    weights = load_file(folder / "model.safetensors")
    weights["head.3.bias"] = weights["head.3.bias"] + torch.tensor([bias, 0.0])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    spec.save(folder)
    if math.isfinite(bias):
        export_graph(folder)
    return folder
