"""Values of secret variables that the operator gives for one run: read here, delivered to the machines encrypted.

For each delivery a machine creates a key pair and returns the public half as a certificate. The values are sent as CMS
messages to it (RFC 5652, EnvelopedData). The machine decrypts them, destroys the key at once, and keeps the values in
memory, readable by root only, until the run ends (`run-task.sh`). So nothing that SSM keeps of the commands can be
decrypted later.
"""

from __future__ import annotations

import base64
import getpass
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.core import display
from torchneuron.core.errors import AwsError, InputError, SetupError
from torchneuron.setup.definition import TaskFile, Variable
from torchneuron.setup.document import RUN_SHELL_SCRIPT
from torchneuron.setup.references import GIVEN, PARAMETER, SECRET, Reference, is_reference
from torchneuron.setup.run_command import MOST_IDS
from torchneuron.setup.steps import CommandStatus

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

    from torchneuron.aws.session import Aws

COMMENT = "torchneuron secret values"
SOURCES = "Give a secret as secretsmanager:ARN, ssm:/NAME, @FILE or env:NAME, or answer the prompt."
_ANSWER_SECONDS = 120
_FOLDER = "/run/torchneuron/given"
# The find removes what cancelled runs left.
_CREATE_KEY = """\
#!/bin/bash
set -euo pipefail
umask 077
mkdir -p {folder}/{run}
cd {folder}
find . -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {{}} +
openssl req -x509 -newkey rsa:3072 -noenc -days 2 -subj /CN={run} -keyout {run}/key -out {run}/certificate 2>/dev/null
cat {run}/certificate
"""
_RECEIVE = """\
#!/bin/bash
set -euo pipefail
umask 077
cd {folder}/{run}
trap 'rm -f key certificate' EXIT
receive() {{ base64 -d | openssl cms -decrypt -binary -inform DER -inkey key -recip certificate -out "$1"; }}
{messages}"""


@dataclass(frozen=True)
class SecretValues:
    """Values by variable, for one run. `run` names it: a nonce or another id that is not secret."""

    run: str
    values: Mapping[str, str] = field(repr=False)

    def only(self, names: Iterable[str]) -> SecretValues | None:
        """The values of `names`; None if there are none."""
        used = set(names) & self.values.keys()
        return SecretValues(self.run, {name: self.values[name] for name in used}) if used else None


def read(task_file: TaskFile, given: Mapping[str, str], *, ask: bool) -> tuple[dict[str, str], SecretValues | None]:
    """`given` with each secret replaced by a reference, and the values to deliver.

    With `ask`, prompts for secrets that have no value. Raises InputError for a value that cannot be read.
    """
    values, secret_values = dict(given), dict[str, str]()
    run = uuid.uuid4().hex
    for name, variable in task_file.variables.items():
        text = given.get(name, variable.value)
        if not variable.secret or (text is None and not (ask and sys.stdin.isatty())):
            continue
        if text is not None and is_reference(text):
            continue
        secret_values[name] = _read_value(variable, text)
        values[name] = str(Reference(GIVEN, run))
    return values, SecretValues(run, secret_values) if secret_values else None


def _read_value(variable: Variable, text: str | None) -> str:
    name = variable.name
    if text is None:
        value = getpass.getpass(f"{name}: ")
    elif text.startswith("@"):
        value = _read_file(name, Path(text[1:]))
    elif text.startswith("env:"):
        value = os.environ.get(text.removeprefix("env:"), "")
    else:
        display.warn(
            f"other users of this machine can see the value of {name} on the command line, and the shell's history"
            f" keeps it. It is sent encrypted. {SOURCES}"
        )
        value = text
    if not value or "\0" in value:
        raise InputError(f"The secret {name} has no value.", do=SOURCES)
    if variable.pattern and not re.fullmatch(variable.pattern, value):
        raise InputError(f"The value of {name} does not match {variable.pattern}.")
    return value


def _read_file(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read the file with the value of {name}.", why=str(error), do=SOURCES) from error


def with_versions(aws: Aws, task_file: TaskFile, values: Mapping[str, str]) -> dict[str, str]:
    """`values` with the current version in each reference, so that a task runs again when its secret changes.

    Without the permission to read versions a reference stays unchanged: the machine may still read the value.
    """
    versioned = dict(values)
    for name, variable in task_file.variables.items():
        text = values.get(name, variable.value) if variable.secret else None
        if text is None:
            continue
        reference = Reference.parse(text)
        try:
            versioned[name] = str(_with_version(aws, reference))
        except AwsError as error:
            display.note(f"Changes of {reference} will not be noticed. {error.what} {error.why}".rstrip())
            versioned[name] = text
    return versioned


def _with_version(aws: Aws, reference: Reference) -> Reference:
    if reference.kind == SECRET and not reference.version:
        return Reference(SECRET, reference.place, current_version(aws.secrets(), reference.place))
    if reference.kind == PARAMETER and ":" not in reference.place:
        with calling(f"read the version of the parameter {reference.place}"):
            found = aws.ssm().describe_parameters(
                ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [reference.place]}]
            )["Parameters"]
        if found:
            return Reference(PARAMETER, f"{reference.place}:{found[0]['Version']}")
    return reference


def current_version(client: SecretsManagerClient, secret: str) -> str:
    """Id of a secret's current version, which is not secret. Raises AwsError; InputError if it has no value."""
    labels_by_version = version_labels(client, secret)
    version = next((version for version, labels in labels_by_version.items() if "AWSCURRENT" in labels), None)
    if version is None:
        raise InputError(f"The secret {secret} has no value.", do="Store the value in it as plain text.")
    return version


def version_labels(client: SecretsManagerClient, secret: str) -> dict[str, list[str]]:
    """The staging labels of a secret's versions, by version id."""
    with calling(f"describe the secret {secret}"):
        return client.describe_secret(SecretId=secret).get("VersionIdsToStages", {})


def deliver(
    ssm: SSMClient,
    instance_ids: Sequence[str],
    secret_values: SecretValues,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send the values to the instances. Raises SetupError naming an instance that did not accept them."""
    certificates: dict[str, str] = {}
    for at in range(0, len(instance_ids), MOST_IDS):
        script = _CREATE_KEY.format(folder=_FOLDER, run=secret_values.run)
        certificates |= _run(ssm, dict.fromkeys(instance_ids[at : at + MOST_IDS], script), sleep)
    scripts = {instance_id: _receive_script(secret_values, text) for instance_id, text in certificates.items()}
    _run(ssm, scripts, sleep)


def encrypt(value: str, certificate: str) -> bytes:
    """A CMS message in DER for the owner of the certificate. Raises SetupError for an invalid certificate."""
    # Only here: it takes as long to import as a short command takes.
    from cryptography import x509
    from cryptography.hazmat.primitives.ciphers.algorithms import AES256
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    try:
        recipient = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise SetupError("A machine returned no certificate to encrypt to.", why=str(error)) from error
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(value.encode()).add_recipient(recipient)
    return builder.set_content_encryption_algorithm(AES256).encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _receive_script(secret_values: SecretValues, certificate: str) -> str:
    messages = "".join(
        f"receive {name} <<'END'\n{base64.encodebytes(encrypt(value, certificate)).decode()}END\n"
        for name, value in secret_values.values.items()
    )
    return _RECEIVE.format(folder=_FOLDER, run=secret_values.run, messages=messages)


def _run(ssm: SSMClient, scripts: Mapping[str, str], sleep: Callable[[float], None]) -> dict[str, str]:
    """Run a script on each instance and return the outputs. Instances with the same script share a command."""
    sent: dict[str, str] = {}
    for script in dict.fromkeys(scripts.values()):
        instance_ids = [instance_id for instance_id, text in scripts.items() if text == script]
        with calling(f"send to {', '.join(instance_ids)}"):
            command = ssm.send_command(
                InstanceIds=instance_ids,
                DocumentName=RUN_SHELL_SCRIPT,
                Parameters={"commands": script.splitlines()},
                Comment=COMMENT,
                TimeoutSeconds=_ANSWER_SECONDS,
            )["Command"]["CommandId"]
        sent |= dict.fromkeys(instance_ids, command)
    return _outputs(ssm, sent, sleep)


def _outputs(ssm: SSMClient, sent: Mapping[str, str], sleep: Callable[[float], None]) -> dict[str, str]:
    outputs: dict[str, str] = {}
    for _ in range(_ANSWER_SECONDS):
        sleep(1)
        for instance_id, command_id in sent.items():
            if instance_id in outputs:
                continue
            with calling(f"read the response of {instance_id}"):
                listed = ssm.list_command_invocations(CommandId=command_id, InstanceId=instance_id)
                status = CommandStatus(next((each["Status"] for each in listed["CommandInvocations"]), "Pending"))
                if not status.is_terminal:
                    continue
                got = ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
            if status is not CommandStatus.SUCCESS:
                raise SetupError(
                    f"{instance_id} did not accept the secret values.",
                    why=got.get("StandardErrorContent", "").strip() or status.value,
                    do="It needs openssl 3, and /run in memory. Fix that, then run this again.",
                )
            outputs[instance_id] = got["StandardOutputContent"]
        if len(outputs) == len(sent):
            return outputs
    late = ", ".join(instance_id for instance_id in sent if instance_id not in outputs)
    raise SetupError(f"{late} did not answer within {_ANSWER_SECONDS} s.", do="See invoke info, then try again.")
