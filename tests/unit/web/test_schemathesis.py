"""The API against its own document: schemathesis makes requests, right and wrong ones, and holds the answers against it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from streams.connections import BoundedRunner
from streams.web.access.limits import WebLimits
from streams.web.server import make_app
from tests.support.fleet import Fleet, fleet_wall

pytestmark = pytest.mark.slow

CHECKS = (
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, unsupported_method,
)  # fmt: skip
