"""The OpenAPI document of the API, from what `endpoints` declares."""

from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spike_assets.dashboard.asked import Parameter
from spike_assets.dashboard.endpoints import ENDPOINTS, Endpoint

_ERROR = {
    "description": "what is wrong, in one sentence",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def document() -> dict[str, Any]:
    """Give the document."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "spike", "version": version("spike-assets"), "summary": "New FX resistance levels."},
        "paths": paths,
        "security": [{"token": []}, {}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
            },
        },
    }


async def openapi(_: Request) -> Response:
    """Give the document to a client."""
    return JSONResponse(document())


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [
            *(_path(name, meaning) for name, meaning in endpoint.in_path.items()),
            *(_parameter(one) for one in endpoint.parameters),
            *([_header()] if endpoint.writes else []),
        ],
        "responses": {str(endpoint.success): _answer(endpoint), **dict.fromkeys(_errors(endpoint), _ERROR)},
    }
    if endpoint.body:
        schema = _object(endpoint.body) | {"required": list(endpoint.body)}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found


def _errors(endpoint: Endpoint) -> list[str]:
    errors = ["400", "401", "403", "503"]
    return sorted([*errors, "404"]) if endpoint.in_path else errors


def _answer(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.success != 200:
        return {"description": "done"}
    schema = _object(endpoint.fields) if endpoint.fields else {"type": "string"}
    return {"description": endpoint.summary, "content": {endpoint.media: {"schema": schema}}}


def _object(fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"description": meaning} for name, meaning in fields.items()}}


def _path(name: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": {"type": "string"}}


def _header() -> dict[str, Any]:
    return {"name": "X-Spike", "in": "header", "required": True, "schema": {"type": "string", "const": "1"}}


def _parameter(one: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = dict(one.schema)
    if one.default is not None:
        schema["default"] = one.default if isinstance(one.default, int) else str(one.default)
    if one.many:
        schema = {"type": "array", "items": schema}
    return {
        "name": one.name,
        "in": "query",
        "required": one.required,
        "description": one.meaning,
        "schema": schema,
    }
