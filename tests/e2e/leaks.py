"""Searches everything that a rehearsal wrote or sent for a secret, in all its encodings.

The sources are AWS's stored data, the laptop's files, the arguments of all processes, and the machine's files. The last
are read from outside, since a command that prints them would put them into SSM's history.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import shlex
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rehearsal.scenarios.sandbox import Sandbox
from tests.e2e.executions import Executions

_MAX_BYTES = 5_000_000
_POLL_SECONDS = 0.05
_DOCUMENT_POLL_SECONDS = 1.0
_PLANS = "cdktf.out/*/*/stacks/*/*.tfplan"
# Folders with files that were delivered to the machine or written on it; all others are from Debian.
_ON_MACHINE = ("etc", "home", "root", "run", "srv", "tmp", "var/lib/amazon", "var/lib/torchneuron", "var/log", "work")


def forms(secret: str) -> dict[str, bytes]:
    """The secret by encoding: plain, Base64 at any offset, URL, JSON, HTML and shell."""
    plain = secret.encode()
    written = {
        "plain": secret,
        "URL-encoded": urllib.parse.quote(secret, safe=""),
        "URL-encoded, as a form": urllib.parse.quote_plus(secret),
        "JSON": json.dumps(secret)[1:-1],
        "JSON in UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(secret)[1:-1])[1:-1],
        "JSON as Go writes it": json.dumps(secret).translate({ord(char): f"\\u{ord(char):04x}" for char in "<>&"})[
            1:-1
        ],
        "HTML": html.escape(secret),
        "shell": shlex.quote(secret)[1:-1] if shlex.quote(secret) != secret else secret,
    }
    found = {name: text.encode() for name, text in written.items()}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain)
        # The first and last characters also depend on the neighbouring bytes.
        certain = encoded[(0, 2, 3)[before] : (before + len(plain)) * 8 // 6]
        found[f"Base64 after {before} bytes"] = certain
        found[f"Base64 for URLs after {before} bytes"] = certain.replace(b"+", b"-").replace(b"/", b"_")
    return found


def search(places: Mapping[str, bytes], secret: str) -> list[str]:
    """The places that contain the secret, each with the encoding."""
    written = forms(secret)
    return [
        f"{place}: {form}" for place, content in places.items() for form, text in written.items() if text in content
    ]


class TransientRecorder:
    """Records what exists only for a moment while the recorder is open.

    These are Terraform's plans in the sandbox, SSM documents, which the setup deletes, and the command lines of all
    processes on this machine, including those in hosts.
    """

    def __init__(self, sandbox: Sandbox, region: str) -> None:
        self._folder = sandbox.folder
        self._ssm = sandbox.client("ssm", region)
        self._arguments: set[bytes] = set()
        self._plans: dict[str, bytes] = {}
        self._documents: dict[str, bytes] = {}
        self._ended = threading.Event()
        pollers = (self._poll_files, self._poll_documents)
        self._threads = [threading.Thread(target=poller, daemon=True) for poller in pollers]

    def __enter__(self) -> TransientRecorder:
        self._executions = Executions()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._arguments.update(self._executions.end())

    def recorded(self) -> dict[str, bytes]:
        return {"process arguments": b"\n".join(sorted(self._arguments)), **self._plans, **self._documents}

    def _poll_files(self) -> None:
        """Record plans, and the arguments of processes that changed them after their start."""
        while not self._ended.wait(_POLL_SECONDS):
            for path in self._folder.glob(_PLANS):
                # The plan may be incomplete or just removed.
                with contextlib.suppress(OSError, zipfile.BadZipFile):
                    self._plans.update(_unpacked(path))
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self._arguments.add(path.read_bytes().replace(b"\0", b" "))

    def _poll_documents(self) -> None:
        while not self._ended.wait(_DOCUMENT_POLL_SECONDS):
            # A document may be deleted between the calls.
            with contextlib.suppress(self._ssm.exceptions.InvalidDocument):
                self._documents.update(_documents(self._ssm))


def on_aws(sandbox: Sandbox, region: str) -> Iterator[tuple[str, bytes]]:
    """AWS's stored data except the secret: SSM's history, documents, parameters, the state bucket and templates."""
    ssm, s3, ec2 = (sandbox.client(service, region) for service in ("ssm", "s3", "ec2"))
    for command in _pages(ssm, "list_commands"):
        yield f"SSM command {command['CommandId']}", _content(command)
    for invocation in _pages(ssm, "list_command_invocations", Details=True):
        yield f"SSM invocation {invocation['CommandId']}", _content(invocation)
        for step in invocation["CommandPlugins"]:
            arguments = {name: invocation[name] for name in ("CommandId", "InstanceId")}
            response = ssm.get_command_invocation(**arguments, PluginName=step["Name"])
            yield f"SSM output of {step['Name']} {invocation['CommandId']}", _content(response)
    yield from _documents(ssm)
    for parameter in _pages(ssm, "get_parameters_by_path", Path="/capacity-block", Recursive=True):
        yield f"SSM parameter {parameter['Name']}", _content(parameter)
    for bucket in s3.list_buckets()["Buckets"]:
        for version in _pages(s3, "list_object_versions", "Versions", Bucket=bucket["Name"]):
            arguments = {"Bucket": bucket["Name"], "Key": version["Key"], "VersionId": version["VersionId"]}
            yield f"s3 {version['Key']} {version['VersionId']}", s3.get_object(**arguments)["Body"].read()
    yield "EC2 instances", _content(ec2.describe_instances())
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        versions = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])
        yield f"EC2 template {template['LaunchTemplateName']}", _content(versions)


def _documents(ssm: Any) -> Iterator[tuple[str, bytes]]:
    for document in _pages(ssm, "list_documents", Filters=[{"Key": "Owner", "Values": ["Self"]}]):
        yield f"SSM document {document['Name']}", _content(ssm.get_document(Name=document["Name"]))


def in_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All files below a folder, including the files inside Terraform plans."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            continue
        yield str(path), path.read_bytes()
        if zipfile.is_zipfile(path):
            yield from _unpacked(path)


def on_machine(host_name: str) -> Iterator[tuple[str, bytes]]:
    """The files of a booted host, read from outside."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "root/etc/hostname").read_text().strip() == host_name:
                break
    else:
        raise AssertionError(f"no process of the host {host_name} found")
    for top in _ON_MACHINE:
        for path in (process / "root" / top).rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MAX_BYTES:
                    yield f"on the machine: /{path.relative_to(process / 'root')}", path.read_bytes()


def _unpacked(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as packed:
        return [(f"{path}: {name}", packed.read(name)) for name in packed.namelist()]


def _pages(client: Any, operation: str, key: str = "", **arguments: object) -> Iterator[dict[str, Any]]:
    paginator = client.get_paginator(operation)
    for page in paginator.paginate(**arguments):
        yield from page.get(key or paginator.result_keys[0].expression, [])


def _content(response: object) -> bytes:
    """The strings of a response, plain and as JSON."""
    return json.dumps(response, default=str).encode() + b"\n" + "\n".join(_texts(response)).encode()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
