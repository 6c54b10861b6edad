"""Where a secret may have got to in a rehearsal, and the forms it may have there.

Everything that was written or sent is gathered as bytes: by what AWS keeps, from the laptop's files, from the machine's
files as they lie on its disk (reading them by a command would itself put them into SSM's history), and the arguments of
every process that was seen meanwhile.
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

_LARGEST = 5_000_000
_LOOK_SECONDS = 0.05
_DOCUMENTS_SECONDS = 1.0
_PLANS = "cdktf.out/*/*/stacks/*/*.tfplan"
# What a machine was given or has written; the rest is Debian's.
_ON_MACHINE = ("etc", "home", "root", "run", "srv", "tmp", "var/lib/amazon", "var/lib/torchneuron", "var/log", "work")


def forms(secret: str) -> dict[str, bytes]:
    """The secret as it would be written in plain, in Base64 (wherever in a text), URLs, JSON, HTML and a shell."""
    plain = secret.encode()
    written = {
        "plain": secret,
        "URL-encoded": urllib.parse.quote(secret, safe=""),
        "URL-encoded, as a form": urllib.parse.quote_plus(secret),
        "JSON": json.dumps(secret)[1:-1],
        "JSON in UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(secret)[1:-1])[1:-1],
        "JSON as Go writes it": json.dumps(secret).translate({ord(one): f"\\u{ord(one):04x}" for one in "<>&"})[1:-1],
        "HTML": html.escape(secret),
        "shell": shlex.quote(secret)[1:-1] if shlex.quote(secret) != secret else secret,
    }
    found = {name: text.encode() for name, text in written.items()}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain)
        # The first characters hold bits of what is before, the last ones of what follows.
        certain = encoded[(0, 2, 3)[before] : (before + len(plain)) * 8 // 6]
        found[f"Base64 after {before} bytes"] = certain
        found[f"Base64 for URLs after {before} bytes"] = certain.replace(b"+", b"-").replace(b"/", b"_")
    return found


def search(places: Mapping[str, bytes], secret: str) -> list[str]:
    """Where the secret is, and in which form."""
    written = forms(secret)
    return [f"{place}: {form}" for place, held in places.items() for form, text in written.items() if text in held]


class Witness:
    """What exists for a moment only, while it is open: Terraform's plans in a sandbox, documents of Systems Manager,
    which their run deletes, and the command lines of all that is executed on this machine, in hosts too."""

    def __init__(self, sandbox: Sandbox, region: str) -> None:
        self._folder = sandbox.folder
        self._ssm = sandbox.client("ssm", region)
        self._arguments: set[bytes] = set()
        self._plans: dict[str, bytes] = {}
        self._documents: dict[str, bytes] = {}
        self._ended = threading.Event()
        looks = (self._look, self._look_at_documents)
        self._threads = [threading.Thread(target=look, daemon=True) for look in looks]

    def __enter__(self) -> Witness:
        self._executions = Executions()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._arguments.update(self._executions.end())

    def seen(self) -> dict[str, bytes]:
        return {"process arguments": b"\n".join(sorted(self._arguments)), **self._plans, **self._documents}

    def _look(self) -> None:
        """At the plans, and at processes that have given themselves other arguments since they were executed."""
        while not self._ended.wait(_LOOK_SECONDS):
            for path in self._folder.glob(_PLANS):
                # One that is still being written, or just removed, is no plan yet, or any more.
                with contextlib.suppress(OSError, zipfile.BadZipFile):
                    self._plans.update(_unpacked(path))
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self._arguments.add(path.read_bytes().replace(b"\0", b" "))

    def _look_at_documents(self) -> None:
        while not self._ended.wait(_DOCUMENTS_SECONDS):
            # A document may be deleted between the two calls.
            with contextlib.suppress(self._ssm.exceptions.InvalidDocument):
                self._documents.update(_documents(self._ssm))


def on_aws(sandbox: Sandbox, region: str) -> Iterator[tuple[str, bytes]]:
    """What AWS keeps beside the secret itself: SSM's history, documents, parameters, the state bucket, templates."""
    ssm, s3, ec2 = (sandbox.client(service, region) for service in ("ssm", "s3", "ec2"))
    for command in _pages(ssm, "list_commands"):
        yield f"SSM command {command['CommandId']}", _told(command)
    for invocation in _pages(ssm, "list_command_invocations", Details=True):
        yield f"SSM invocation {invocation['CommandId']}", _told(invocation)
        for step in invocation["CommandPlugins"]:
            asked = {name: invocation[name] for name in ("CommandId", "InstanceId")}
            got = ssm.get_command_invocation(**asked, PluginName=step["Name"])
            yield f"SSM output of {step['Name']} {invocation['CommandId']}", _told(got)
    yield from _documents(ssm)
    for parameter in _pages(ssm, "get_parameters_by_path", Path="/capacity-block", Recursive=True):
        yield f"SSM parameter {parameter['Name']}", _told(parameter)
    for bucket in s3.list_buckets()["Buckets"]:
        for version in _pages(s3, "list_object_versions", "Versions", Bucket=bucket["Name"]):
            asked = {"Bucket": bucket["Name"], "Key": version["Key"], "VersionId": version["VersionId"]}
            yield f"s3 {version['Key']} {version['VersionId']}", s3.get_object(**asked)["Body"].read()
    yield "EC2 instances", _told(ec2.describe_instances())
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        versions = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])
        yield f"EC2 template {template['LaunchTemplateName']}", _told(versions)


def _documents(ssm: Any) -> Iterator[tuple[str, bytes]]:
    for document in _pages(ssm, "list_documents", Filters=[{"Key": "Owner", "Values": ["Self"]}]):
        yield f"SSM document {document['Name']}", _told(ssm.get_document(Name=document["Name"]))


def in_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, what is packed in a Terraform plan unpacked."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        yield str(path), path.read_bytes()
        if zipfile.is_zipfile(path):
            yield from _unpacked(path)


def on_machine(host_name: str) -> Iterator[tuple[str, bytes]]:
    """The files that a booted host has got or made, read from outside."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "root/etc/hostname").read_text().strip() == host_name:
                break
    else:
        raise AssertionError(f"no process of the host {host_name} is there")
    for top in _ON_MACHINE:
        for path in (process / "root" / top).rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= _LARGEST:
                    yield f"on the machine: /{path.relative_to(process / 'root')}", path.read_bytes()


def _unpacked(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as packed:
        return [(f"{path}: {name}", packed.read(name)) for name in packed.namelist()]


def _pages(client: Any, operation: str, key: str = "", **asked: object) -> Iterator[dict[str, Any]]:
    paginator = client.get_paginator(operation)
    for page in paginator.paginate(**asked):
        yield from page.get(key or paginator.result_keys[0].expression, [])


def _told(answer: object) -> bytes:
    """The answer's texts, as they are and as JSON."""
    return json.dumps(answer, default=str).encode() + b"\n" + "\n".join(_texts(answer)).encode()


def _texts(answer: object) -> Iterator[str]:
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, dict):
        for one in answer.values():
            yield from _texts(one)
    elif isinstance(answer, list):
        for one in answer:
            yield from _texts(one)
