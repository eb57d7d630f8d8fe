"""The document is of what is answered, all of it, and reads well without a script."""

import re
from typing import Any

import pytest

from spike_assets.dashboard.asked import parsed
from spike_assets.dashboard.endpoints import ENDPOINTS, Endpoint
from spike_assets.dashboard.openapi import document
from spike_assets_tests.dashboard.conftest import Visits
from spike_assets_tests.dashboard.offices import TestClient


@pytest.fixture
def client(visits: Visits) -> TestClient:
    return visits()


def test_every_endpoint_is_in_the_document_and_the_other_way_round(client: TestClient) -> None:
    told = client.get("/api/openapi.json").json()
    assert told == document()
    assert (told["openapi"], set(told["components"]["schemas"])) == ("3.1.0", {"Error"})
    listed = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert listed == {(one.method, one.path) for one in ENDPOINTS}
    served = {
        (method, route.path)
        for route in client.app.routes  # type: ignore[attr-defined]
        for method in getattr(route, "methods", None) or ()
        if route.path.startswith("/api/") and method != "HEAD"
    }
    assert served - listed == {("GET", "/api/docs"), ("GET", "/api/openapi.json")}
    assert listed <= served


def test_operations_have_names_of_their_own() -> None:
    operations: list[dict[str, Any]] = [one for methods in document()["paths"].values() for one in methods.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)
    for one in operations:
        assert {parameter["in"] for parameter in one["parameters"]} <= {"query", "path", "header"}
        assert "503" in one["responses"]


@pytest.mark.parametrize(
    "endpoint",
    [one for one in ENDPOINTS if one.method == "GET" and one.media == "application/json"],
    ids=lambda one: one.name,
)
def test_the_fields_that_are_documented_are_those_that_come(client: TestClient, endpoint: Endpoint) -> None:
    event_id = client.get("/api/events").json()["events"][0]["event_id"]
    query = {"instrument": "EUR_USD", "from": "2025-03-10"}
    asked = {name: value for name, value in query.items() if name in {one.name for one in endpoint.parameters}}
    told = client.get(endpoint.path.replace("{event_id}", event_id), params=asked).json()
    assert set(endpoint.fields) <= set(told)
    for name, said in endpoint.fields.items():
        rows = told[name]
        if isinstance(rows, list) and rows and isinstance(rows[0], dict) and "," in said and not said.startswith("how"):
            words = set(re.findall(r"[a-z_]+", said))
            assert set(rows[0]) <= words | {"reasons"} or "as in" in said, (name, set(rows[0]) - words)


def test_defaults_are_those_that_are_documented() -> None:
    for endpoint in ENDPOINTS:
        required = [
            (one.name, "EUR_USD" if one.name == "instrument" else "2025-01-01")
            for one in endpoint.parameters
            if one.required
        ]
        values = parsed(endpoint.parameters, required)
        for method in [document()["paths"][endpoint.path][endpoint.method.lower()]]:
            for one in method["parameters"]:
                if "default" in one["schema"]:
                    assert str(values[one["name"]]) == str(one["schema"]["default"])


def test_the_page_of_the_document_names_every_parameter(client: TestClient) -> None:
    text = client.get("/api/docs").text
    for endpoint in ENDPOINTS:
        assert f"<code>{endpoint.method} {endpoint.path}</code>" in text
        for parameter in endpoint.parameters:
            assert f"<td><code>{parameter.name}</code></td>" in text
