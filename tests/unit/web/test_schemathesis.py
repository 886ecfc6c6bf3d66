"""The API against its own document: schemathesis makes requests, right and wrong ones, and holds the answers against it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from streams.connections import BoundedRunner
from streams.web.access.gate import AccessOptions, Gate
from streams.web.access.limits import WebLimits
from streams.web.access.tokens import SCOPES, Tokens, add_token
from streams.web.api.openapi import document
from streams.web.api.routes import PREFIX, ROUTES
from streams.web.server import make_app
from tests.support.fleet import Fleet, fleet_wall
from tests.support.web import in_thread

pytestmark = pytest.mark.slow

SCHEMA = schemathesis.openapi.from_dict(document(ROUTES, PREFIX)).exclude(path=[f"{PREFIX}/live", f"{PREFIX}/openapi.json"])
# A body that violates the schema by its size alone is refused before it is read.
SCHEMA.config.checks.negative_data_rejection.expected_statuses = [
    *SCHEMA.config.checks.negative_data_rejection.expected_statuses,
    "413",
]

LONGEST_ADDRESS = 8000

NOT_HELD = [positive_data_acceptance]
"""A request of the right shape may still name nothing that is there."""


@pytest.fixture(scope="module")
def wall(seeded: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(address, token) of the wall on the seeded fleet, which runs in a thread of its own."""
    file = tmp_path_factory.mktemp("access") / "tokens.json"
    token = add_token(file, "schemathesis", SCOPES, {})
    gate = Gate(AccessOptions("0.0.0.0", Tokens(file)))
    seeded.play(time.time() - 1.8)
    with in_thread(BoundedRunner(make_app(fleet_wall(seeded, WebLimits(rate=1e6, burst=1e6), gate)))) as address:
        yield address, token


@SCHEMA.parametrize()
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case, seeded: Fleet, wall: tuple[str, str]) -> None:
    if "id" in (case.path_parameters or {}) and len(str(case.path_parameters["id"])) % 2:
        # Made-up ids are never there: every other one is made one that is.
        case.path_parameters["id"] = _known(seeded, case.operation.path)
    address, token = wall
    answer = case.call(base_url=address, headers={"Authorization": f"Bearer {token}"})
    if len(str(answer.request.url)) < LONGEST_ADDRESS:  # aiohttp refuses a longer one before there is a request
        case.validate_response(answer, excluded_checks=NOT_HELD)


def _known(seeded: Fleet, path: str) -> str:
    if "/alerts/" in path:
        return seeded.live.firing()[0].alert_id
    if "/clips/" in path:
        return seeded.examples[0].example_id
    return seeded.channels[5].id
