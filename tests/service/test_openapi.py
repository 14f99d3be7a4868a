"""The OpenAPI document, and whether the service keeps to it (schemathesis)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as conformance

from wavebreak import Turn

from .asking import serving
from .processes import Served, served

if TYPE_CHECKING:
    from collections.abc import Generator

ENDLESS = "/events"
CHECKS: list[Any] = [
    getattr(where, name)
    for where, name in (
        (checks, "not_a_server_error"),
        (conformance, "status_code_conformance"),
        (conformance, "content_type_conformance"),
        (conformance, "response_headers_conformance"),
        (conformance, "response_schema_conformance"),
    )
]
"""By their names: schemathesis does not give them whole types."""


async def echo(turn: Turn) -> str:
    return turn.text


async def test_the_document_describes_every_route_its_problems_and_its_security() -> None:
    async with serving(echo) as ask:
        document = (await ask.get("/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation.get("summary"), where
            assert operation.get("description"), where
            if path in {"/healthz", "/readyz", "/v1/login", "/v1/logout"}:
                continue
            assert {"HTTPBearer": []} in operation["security"], where
            problems = [code for code in operation["responses"] if code[0] in "45"]
            assert {"400", "401", "403", "413", "421", "429", "503"} <= set(problems), where
            for code in problems:
                content = operation["responses"][code]["content"]
                assert "application/problem+json" in content or code == "409", (where, code)


@pytest.fixture(scope="module")
def service() -> Generator[Served]:
    with served(rate="100000", burst="1000000", longest_wait="0.05") as running:
        yield running


@pytest.mark.slow
def test_no_request_makes_it_fail_or_answer_what_the_document_does_not_say(
    service: Served,
) -> None:
    schema: Any = schemathesis.openapi.from_url(f"{service.url}/v1/openapi.json")
    headers = {"Authorization": f"Bearer {service.token}"}
    tried: list[str] = []
    for result in schema.get_all_operations():
        operation: Any = result.ok()
        if operation.path.endswith(ENDLESS):
            continue
        tried.append(operation.path)

        @settings(
            max_examples=12,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            case.headers.pop("Accept", None)
            case.call_and_validate(headers=headers, checks=CHECKS)

        check()
    assert len(tried) > 20
