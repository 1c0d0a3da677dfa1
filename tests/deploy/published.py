"""Manifests against published schemas, offline: Kubernetes' own by a package, custom resources by excerpts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

KUBERNETES = "1.37"
_FOLDER = Path(__file__).resolve().parent / "schemas"
CUSTOM = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.json"))}


def check(document: dict[str, Any]) -> None:
    """Raise what is wrong with a manifest."""
    kind = document["kind"]
    if kind not in CUSTOM:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        return
    schema = CUSTOM[kind]
    jsonschema.Draft202012Validator(schema).validate(document)
    _check_pods(schema, document)


def _check_pods(schema: Any, value: Any) -> None:
    """Check the pods of a custom resource, where its schema says that there are some, as Kubernetes checks a pod."""
    core = schema.get("x-core") if isinstance(schema, dict) else None
    if core is not None:
        spec = value["spec"] if core == "podtemplatespec" else value
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        return
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                _check_pods(inner, value[name])
    elif isinstance(value, list) and "items" in schema:
        for item in value:
            _check_pods(schema["items"], item)
