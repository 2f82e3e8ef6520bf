"""Answers of the admin API held against the OpenAPI document that the node serves."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate


class Document:
    """The document, found to be one.

    Attributes:
        operations: by id: method, path, and what the document says.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        validate(document)
        self._components = document["components"]
        self.operations: dict[str, tuple[str, str, dict[str, Any]]] = {
            said["operationId"]: (method.upper(), path, said)
            for path, methods in document["paths"].items()
            for method, said in methods.items()
        }

    def check(self, name: str, status: int, headers: dict[str, str], body: Any) -> None:
        """That an answer is one of those that the document tells of.

        Args:
            headers: by names in lower case.
            body: decoded; None where there is none.
        """
        responses = self.operations[name][2]["responses"]
        assert str(status) in responses, (name, status, body)
        said = responses[str(status)]
        for header in said.get("headers", {}):
            assert header.lower() in headers, (name, status, header)
        if "content" not in said:
            assert body is None, name
            return
        ((media_type, content),) = said["content"].items()
        assert headers["content-type"] == media_type
        if media_type.endswith("json"):
            self.check_body(content["schema"], body)

    def check_body(self, schema: dict[str, Any], body: Any) -> None:
        """That a body is as its schema says."""
        Draft202012Validator({**schema, "components": self._components}).validate(body)
