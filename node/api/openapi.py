"""The OpenAPI 3.1 document, made of the table of operations and of the types that parse and encode what travels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from node.api import bodies, problems
from node.api.operations import Operation
from node.api.problems import Kind, Problem

_REF = "#/components/schemas/{name}"
_ANY = (
    problems.UNAUTHORIZED,
    problems.TOKEN_EXPIRED,
    problems.FORBIDDEN,
    problems.INVALID,
    problems.RATE_LIMITED,
    problems.INTERNAL,
    problems.NOT_READY,
)
_WITH_BODY = (problems.MALFORMED, problems.TOO_SLOW, problems.TOO_LARGE, problems.NO_JSON)
_WITH_LOG = (problems.OVERLOADED, problems.UNAVAILABLE, problems.OUTCOME_UNKNOWN)
_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
_DOCUMENT = {
    "operationId": "get_openapi",
    "summary": "This document",
    "security": [],
    "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}},
}


def document(operations: Iterable[Operation], base: str, version: str) -> dict[str, Any]:
    """Describe the operations.

    Args:
        base: the path under which they are.
        version: of the program.
    """
    operations = list(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    paths["/openapi.json"] = {"get": _DOCUMENT}
    types = [t for o in operations for t in (o.body, o.answer) if t is not None]
    _, schemas = msgspec.json.schema_components([*types, Problem], ref_template=_REF)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Admin API of a chat node", "version": version},
        "servers": [{"url": base}],
        "security": [{"admin": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    portable: dict[str, Any] = _portable(found)
    return portable


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content("application/json", operation.body)}
    return described


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": msgspec.json.schema(bodies.PATH_PARAMETERS[name])}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    fields = msgspec.json.schema(query)["$defs"][query.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]


def _responses(operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        good["content"] = _content(operation.media_type, operation.answer)
    elif operation.status == HTTPStatus.OK:
        good["content"] = {operation.media_type: {"schema": {"type": "string"}}}
    if operation.status == HTTPStatus.CREATED:
        good["headers"] = {"Location": {"schema": {"type": "string"}}}
    kinds = [*_ANY, *operation.problems]
    kinds += _WITH_BODY if operation.body is not None else ()
    kinds += _WITH_LOG if operation.method != "GET" and operation.synced else ()
    responses = {str(operation.status): good}
    for status in sorted({kind.status for kind in kinds}):
        responses[str(status)] = _problem(status, [kind for kind in kinds if kind.status == status])
    return responses


def _problem(status: int, kinds: list[Kind]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": "; ".join(f"{kind.title} (`{kind.type}`)" for kind in kinds),
        "content": _content(problems.MEDIA_TYPE, Problem),
    }
    if status in _HEADERS:
        described["headers"] = {_HEADERS[status]: {"schema": {"type": "string"}}}
    return described


def _content(media_type: str, body: type[msgspec.Struct]) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REF.format(name=body.__name__)}}}


def _portable(value: Any) -> Any:
    """Patterns as ECMA-262 has them, which is what JSON Schema speaks."""
    if isinstance(value, dict):
        return {
            key: item.replace(r"\Z", "$") if key == "pattern" and isinstance(item, str) else _portable(item)
            for key, item in value.items()
        }
    return [_portable(item) for item in value] if isinstance(value, list) else value
