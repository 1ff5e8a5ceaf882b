"""The server's interface as an OpenAPI document, and as a page that needs no other host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wbczoo import __version__

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}
_ROWS = {
    "type": "object",
    "properties": {
        "format": {"const": 1},
        "model": {"type": "string"},
        "rows": {
            "type": "array",
            "description": "As of wbczoo predict: one for each image, or for each of its cells.",
            "items": {
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "error": {"type": "string"},
                    "box": {"type": "array", "items": {"type": "integer"}},
                    "flags": {"type": "array", "items": {"type": "string"}},
                    "novelty": {"type": "number"},
                    "tasks": {
                        "type": "object",
                        "additionalProperties": {
                            "type": "object",
                            "properties": {
                                "class": {"type": "string"},
                                "probability": {"type": "number"},
                                "probabilities": {
                                    "type": "object",
                                    "additionalProperties": {"type": "number"},
                                },
                            },
                        },
                    },
                },
                "required": ["path"],
            },
        },
    },
}
_TENSORS = {"type": "object", "description": "As the Open Inference Protocol has it."}

# Path -> method, what it does, what comes back.
_PLACES: dict[str, tuple[str, str, Any]] = {
    "/v1/predict": ("post", "Answer image files.", _ROWS),
    "/v2": ("get", "The server's metadata.", _TENSORS),
    "/v2/health/live": ("get", "Whether the process answers.", _TENSORS),
    "/v2/health/ready": ("get", "Whether models can be asked.", _TENSORS),
    "/v2/models/{model}": ("get", "A model's metadata.", _TENSORS),
    "/v2/models/{model}/ready": ("get", "Whether a model can be asked.", _TENSORS),
    "/v2/models/{model}/infer": ("post", "Answer tensors.", _TENSORS),
    "/v2/models/{model}/versions/{version}": ("get", "The same of a version.", _TENSORS),
    "/v2/models/{model}/versions/{version}/ready": ("get", "The same of a version.", _TENSORS),
    "/v2/models/{model}/versions/{version}/infer": ("post", "The same of a version.", _TENSORS),
    "/metrics": ("get", "Counts, as Prometheus reads them.", None),
    "/openapi.json": ("get", "This document.", {"type": "object"}),
    "/docs": ("get", "This document as a page.", None),
}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>wbczoo serve</title>
<style>body{{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}}
td{{padding:.2em 1em .2em 0;vertical-align:top}}pre{{background:#eee;padding:1em}}</style>
<h1>wbczoo serve {version}</h1>
<p>Models: {models}. The whole interface is in <a href="/openapi.json">openapi.json</a>.</p>
<table>{places}</table>
<pre>curl -F images=@a.jpg -F images=@b.jpg 'http://HOST:PORT/v1/predict?model={first}'
curl --data-binary @a.jpg 'http://HOST:PORT/v1/predict'</pre>
<p>Research use only. Not for diagnosis.</p>
</html>
"""


def describe(models: Sequence[str]) -> dict[str, Any]:
    """The OpenAPI document of a server with these models, the default one first."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "wbczoo serve",
            "version": __version__,
            "description": "White blood cell classifiers. Research use only; not for diagnosis.",
        },
        "paths": {
            path: {method: _operation(path, summary, schema, models)}
            for path, (method, summary, schema) in _PLACES.items()
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def page(models: Sequence[str]) -> str:
    """The same as HTML."""
    from html import escape

    places = "".join(
        f"<tr><td><code>{method.upper()} {path}</code><td>{summary}"
        for path, (method, summary, _) in _PLACES.items()
    )
    named = [escape(model) for model in models]
    return _PAGE.format(version=__version__, models=", ".join(named), first=named[0], places=places)


def _operation(path: str, summary: str, schema: Any, models: Sequence[str]) -> dict[str, Any]:
    named = {"type": "string", "enum": [*models]}
    parameters = [
        {"name": "model", "in": "path", "required": True, "schema": named},
        {"name": "version", "in": "path", "required": True, "schema": {"const": "1"}},
    ]
    found: dict[str, Any] = {
        "summary": summary,
        "parameters": [each for each in parameters if f"{{{each['name']}}}" in path],
        "responses": {
            "200": {"description": "Done.", **_content(schema)},
            "4XX": {"description": "The request is refused.", **_content(_ERROR)},
            "503": {"description": "Overload; see Retry-After.", **_content(_ERROR)},
        },
    }
    if path == "/v1/predict":
        found["parameters"] = [
            {"name": "model", "in": "query", "schema": {**named, "default": models[0]}},
            {"name": "cells", "in": "query", "schema": {"enum": ["one", "all", "whole"]}},
        ]
        files = {"type": "array", "items": {"type": "string", "format": "binary"}}
        form = {"type": "object", "properties": {"images": files}, "required": ["images"]}
        found["requestBody"] = {
            "content": {"multipart/form-data": {"schema": form}, "image/*": {"schema": {}}}
        }
        found["responses"]["422"] = {
            "description": "No image could be read; the rows say why.", **_content(_ROWS)
        }  # fmt: skip
    elif path.endswith("/infer"):
        kinds = {"application/json": {"schema": _TENSORS}, "application/octet-stream": {}}
        found["requestBody"] = {"content": kinds}
    return found


def _content(schema: Any) -> dict[str, Any]:
    return {} if schema is None else {"content": {"application/json": {"schema": schema}}}
