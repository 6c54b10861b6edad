"""SSM Command documents: their validation, and the steps of a document with given parameters. No I/O.

Sources
-------
- Schema 1.2 (AWS-RunShellScript): Systems Manager user guide, "Schemas, features, and examples". Its plugin's name is
  aws:runShellScript: AWS CLI reference, get-command-invocation, Examples.
- Schema 2.2, `onFailure`, `onSuccess`, `finallyStep`, `timeoutSeconds` as inputs of a step: Systems Manager user
  guide, "Command document plugin reference" and "Document components"; amazon-ssm-agent,
  agent/framework/runpluginutil, reads them from a step's inputs and nowhere else.
- 64 KB per document (MaxDocumentSizeExceeded), InvalidDocumentContent: SSM API reference, CreateDocument; "this quota
  also includes the content specified for input parameters at runtime": botocore's model, CreateDocument.Content. That
  this is the sum of the values in bytes is assumed.
- `runtimeConfig` of schema 1.2 names a plugin and its properties: user guide, "Schemas, features, and examples". The
  rehearsal supports one plugin with one set of properties; the plugin's name is the step's.
- `{{ssm:name}}` in a parameter's value is replaced by the value in Parameter Store, which must not be a SecureString:
  the same, "Parameter Store reference", systems-manager-user-guide 55; the error code is assumed.
- minItems, maxItems, minChars, maxChars: the same, "Data elements and parameters".
- `{{ Name }}` is replaced by the document's parameter; an undefined name is refused: the same, "Data elements and
  parameters". InvalidParameters: SSM API reference, SendCommand.
- Execution time limits, default 3600 s, 5 to 172800 s: amazon-ssm-agent, agent/plugins/pluginutil.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

from rehearsal.errors import AwsError

MAX_BYTES = 64 * 1024

_REFERENCE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_PARAMETER_STORE_REFERENCE = re.compile(r"\{\{\s*ssm:([a-zA-Z0-9_.\-/:]+)\s*\}\}")
_PLUGIN = re.compile(r"aws:[a-zA-Z]+")
_STEP_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_PARAMETER_TYPES = {"String", "StringList", "Integer", "Boolean", "StringMap", "MapList"}
_DEFAULT_TIMEOUT, _MIN_TIMEOUT, _MAX_TIMEOUT = 3600.0, 5.0, 172_800.0


@dataclass(frozen=True)
class Step:
    """An `aws:runShellScript` step, ready to run. `timeout`: seconds. `folder`: the agent's folder for its script."""

    name: str
    folder: str
    script: str
    timeout: float
    working_directory: str | None
    on_failure: str
    on_success: str
    finally_step: bool


def parse(content: str, document_format: str) -> dict[str, Any]:
    """Parse and validate a Command document's content; AwsError as from CreateDocument when it is invalid."""
    check_size(content, {})
    try:
        document = yaml.safe_load(content) if document_format == "YAML" else json.loads(content)
    except (ValueError, yaml.YAMLError) as error:
        raise _invalid(f"{document_format} not well-formed: {error}") from error
    if not isinstance(document, dict):
        raise _invalid("The content is not an object.")
    version = str(document.get("schemaVersion", ""))
    if version not in ("1.2", "2.0", "2.2"):
        raise _invalid(f"Unsupported schemaVersion {version!r} for a Command document.")
    _check_parameters(document.get("parameters") or {})
    if version == "1.2":
        _check_runtime_config(document.get("runtimeConfig"))
    else:
        _check_steps(document.get("mainSteps"))
    for name in sorted(set(_references(_body(document)))):
        if name not in (document.get("parameters") or {}) and name != "platformType":
            raise _invalid(f'Parameter "{name}" is used in the document but not defined in its parameters.')
    return document


def check_size(content: str, arguments: Mapping[str, Sequence[str]]) -> None:
    """AwsError for a document that is too large, by itself or with the arguments for its parameters."""
    texts = [content, *(text for texts in arguments.values() for text in texts)]
    if sum(len(text.encode()) for text in texts) > MAX_BYTES:
        raise AwsError("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB.")


def steps_of(
    document: Mapping[str, Any], arguments: Mapping[str, Sequence[str]], stored_value: Callable[[str], str]
) -> tuple[Step, ...]:
    """The document's steps with its parameters replaced; AwsError (InvalidParameters) for invalid arguments.

    `stored_value`: looks up a name in Parameter Store.
    """
    values = {
        name: _with_stored(value, stored_value)
        for name, value in _values(document.get("parameters") or {}, arguments).items()
    }
    if "runtimeConfig" not in document:
        return tuple(
            _step(step["action"], step["name"], step["name"], step["inputs"], values) for step in _body(document)
        )
    ((plugin, settings),) = _body(document).items()
    properties = settings["properties"]
    if len(properties) != 1:
        raise AwsError("UnsupportedOperation", "The rehearsal supports one set of properties per plugin.")
    folder = f"{plugin}/{properties[0].get('id', '')}".rstrip("/").replace(":", "")
    return (_step(plugin, plugin, folder, properties[0], values),)


def _body(document: Mapping[str, Any]) -> Any:
    return document["runtimeConfig"] if "runtimeConfig" in document else document["mainSteps"]


def _with_stored(value: Any, stored_value: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_with_stored(item, stored_value) for item in value]
    if not isinstance(value, str):
        return value
    return _PARAMETER_STORE_REFERENCE.sub(lambda match: stored_value(match[1]), value)


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidDocumentContent", message)


def _check_parameters(parameters: Any) -> None:
    if not isinstance(parameters, dict):
        raise _invalid("parameters is not an object.")
    for name, parameter in parameters.items():
        if not isinstance(parameter, dict) or parameter.get("type") not in _PARAMETER_TYPES:
            raise _invalid(f'Parameter "{name}" has no valid type.')


def _check_runtime_config(config: Any) -> None:
    if not isinstance(config, dict) or len(config) != 1:
        raise _invalid("runtimeConfig must name one plugin.")
    ((plugin, settings),) = config.items()
    properties = settings.get("properties") if isinstance(settings, dict) else None
    if not _PLUGIN.fullmatch(plugin) or not isinstance(properties, list) or not properties:
        raise _invalid(f"Plugin {plugin!r} needs a list of properties.")
    if not all(isinstance(item, dict) for item in properties):
        raise _invalid(f"The properties of plugin {plugin!r} are not objects.")


def _check_steps(steps: Any) -> None:
    if not isinstance(steps, list) or not steps:
        raise _invalid("mainSteps must be a list of at least one step.")
    names: set[str] = set()
    for step in steps:
        if not isinstance(step, dict) or not {"action", "name", "inputs"} <= step.keys():
            raise _invalid("Each step needs action, name and inputs.")
        name = step["name"]
        if not isinstance(name, str) or not _STEP_NAME.fullmatch(name):
            raise _invalid(f"Step name {name!r} may hold letters, digits, underscores and hyphens only.")
        if name in names:
            raise _invalid(f"Step name {name!r} is used twice.")
        names.add(name)
        if not str(step["action"]).startswith("aws:"):
            raise _invalid(f"Step {name!r} has an unknown action {step['action']!r}.")


def _references(value: Any) -> Iterator[str]:
    """The names of the document's parameters that `value` refers to, at any depth."""
    if isinstance(value, str):
        yield from (name for name in _REFERENCE.findall(value) if not name.startswith(("ssm:", "ssm-secure:")))
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _values(parameters: Mapping[str, Any], arguments: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    for name in arguments:
        if name not in parameters:
            raise AwsError("InvalidParameters", f"Parameter {name} is not defined in the document.")
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in arguments:
            texts = list(arguments[name])
            values[name] = texts if parameter["type"] == "StringList" else (texts[0] if texts else "")
        elif "default" in parameter:
            values[name] = parameter["default"]
        else:
            raise AwsError("InvalidParameters", f"Missing required parameter {name}.")
        _check_value(name, parameter, values[name])
    return values


def _check_value(name: str, parameter: Mapping[str, Any], value: Any) -> None:
    pattern, allowed = parameter.get("allowedPattern"), parameter.get("allowedValues")
    texts = [_text(item) for item in (value if isinstance(value, list) else [value])]
    sizes = {"Items": [len(texts)]} if isinstance(value, list) else {}
    for unit, lengths in {**sizes, "Chars": [len(text) for text in texts]}.items():
        minimum, maximum = parameter.get(f"min{unit}", 0), parameter.get(f"max{unit}", math.inf)
        if not all(minimum <= length <= maximum for length in lengths):
            raise AwsError("InvalidParameters", f"Parameter {name} must have {minimum} to {maximum} {unit.lower()}.")
    for text in texts:
        if pattern is not None and not re.fullmatch(pattern, text):
            raise AwsError("InvalidParameters", f"Parameter {name} does not match the pattern {pattern}.")
        if allowed is not None and text not in [_text(item) for item in allowed]:
            raise AwsError("InvalidParameters", f"Parameter {name} is not one of the allowed values.")


def _step(action: str, name: str, folder: str, inputs: Mapping[str, Any], values: Mapping[str, Any]) -> Step:
    if action != "aws:runShellScript":
        raise AwsError("UnsupportedOperation", f"The rehearsal supports aws:runShellScript only, not {action}.")
    inputs = {key: _interpolated(value, values) for key, value in inputs.items()}
    commands = inputs.get("runCommand", [])
    lines = commands if isinstance(commands, list) else [commands]
    return Step(
        name=name,
        folder=folder,
        script="\n".join(str(line) for line in lines) + "\n",
        timeout=_timeout(inputs.get("timeoutSeconds")),
        working_directory=str(inputs["workingDirectory"]) if inputs.get("workingDirectory") else None,
        on_failure=str(inputs.get("onFailure", "")),
        on_success=str(inputs.get("onSuccess", "")),
        finally_step=str(inputs.get("finallyStep", "")).lower() == "true",
    )


def _interpolated(value: Any, values: Mapping[str, Any]) -> Any:
    """`value` with references replaced: a lone reference by the parameter's value, one within a text by its text."""
    if isinstance(value, list):
        return [_interpolated(item, values) for item in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole and whole[1] in values:
        return values[whole[1]]

    def text(match: re.Match[str]) -> str:
        if match[1] not in values:
            return match[0]
        return _text(values[match[1]])

    return _REFERENCE.sub(text, value)


def _text(value: Any) -> str:
    """A value's text in a script. Arguments are strings, but a document's defaults may have any JSON type."""
    return value if isinstance(value, str) else json.dumps(value)


def _timeout(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return _DEFAULT_TIMEOUT
    return seconds if _MIN_TIMEOUT <= seconds <= _MAX_TIMEOUT else _DEFAULT_TIMEOUT
