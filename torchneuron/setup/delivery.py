"""Values that the operator gives for one run, brought to the machines so that Systems Manager never sees them.

Each machine makes a key pair of its own for this, in memory, and shows the public half as a certificate. The values are
sent as CMS messages to it (RFC 5652, EnvelopedData). The machine opens them, destroys the key at once, and keeps the
values in memory, for root alone, until the run has ended (`run-task.sh`). So what SSM keeps of both commands can never
be opened again, by whoever reads it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from torchneuron.aws.errors import calling
from torchneuron.core.errors import SetupError
from torchneuron.setup.document import RUN_SHELL_SCRIPT
from torchneuron.setup.run_command import MOST_IDS

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

COMMENT = "torchneuron secret values"
_ANSWER_SECONDS = 120
_FOLDER = "/run/torchneuron/given"
_MAKE_KEY = """\
#!/bin/bash
set -euo pipefail
umask 077
mkdir -p {folder}/{run}
cd {folder}
# Left by a run that was cancelled or cut.
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
class Given:
    """Values by variable, for one run. `run` is its name: a nonce, or what else is no secret."""

    run: str
    values: Mapping[str, str] = field(repr=False)

    def of(self, names: Iterable[str]) -> Given | None:
        """Those of the values that have one of the names; None when there are none."""
        used = set(names) & self.values.keys()
        return Given(self.run, {name: self.values[name] for name in used}) if used else None


def deliver(
    ssm: SSMClient, instance_ids: Sequence[str], given: Given, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Bring the values to the instances. Raises SetupError naming those that did not take them."""
    certificates: dict[str, str] = {}
    for at in range(0, len(instance_ids), MOST_IDS):
        script = _MAKE_KEY.format(folder=_FOLDER, run=given.run)
        certificates |= _run(ssm, dict.fromkeys(instance_ids[at : at + MOST_IDS], script), sleep)
    _run(ssm, {one: _receiving(given, text) for one, text in certificates.items()}, sleep)


def encrypt(value: str, certificate: str) -> bytes:
    """The CMS message that only the certificate's owner can open, in DER. Raises SetupError for no certificate."""
    try:
        to = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise SetupError("A machine gave no certificate to encrypt to.", why=str(error)) from error
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(value.encode()).add_recipient(to)
    return builder.set_content_encryption_algorithm(AES256).encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _receiving(given: Given, certificate: str) -> str:
    messages = "".join(
        f"receive {name} <<'END'\n{base64.encodebytes(encrypt(value, certificate)).decode()}END\n"
        for name, value in given.values.items()
    )
    return _RECEIVE.format(folder=_FOLDER, run=given.run, messages=messages)


def _run(ssm: SSMClient, scripts: Mapping[str, str], sleep: Callable[[float], None]) -> dict[str, str]:
    """Run a script on each instance; what each wrote. Instances with the same script share a command."""
    sent: dict[str, str] = {}
    for script in dict.fromkeys(scripts.values()):
        ids = [one for one, text in scripts.items() if text == script]
        with calling(f"send to {', '.join(ids)}"):
            command = ssm.send_command(
                InstanceIds=ids,
                DocumentName=RUN_SHELL_SCRIPT,
                Parameters={"commands": script.splitlines()},
                Comment=COMMENT,
                TimeoutSeconds=_ANSWER_SECONDS,
            )["Command"]["CommandId"]
        sent |= dict.fromkeys(ids, command)
    return _outputs(ssm, sent, sleep)


def _outputs(ssm: SSMClient, sent: Mapping[str, str], sleep: Callable[[float], None]) -> dict[str, str]:
    outputs: dict[str, str] = {}
    for _ in range(_ANSWER_SECONDS):
        sleep(1)
        for instance_id, command_id in sent.items():
            if instance_id in outputs:
                continue
            with calling(f"read the answer of {instance_id}"):
                pages = ssm.list_command_invocations(CommandId=command_id, InstanceId=instance_id)
                status = next((one["Status"] for one in pages["CommandInvocations"]), "Pending")
                if status in ("Pending", "InProgress", "Delayed"):
                    continue
                got = ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
            if status != "Success":
                raise SetupError(
                    f"{instance_id} did not take the secret values.",
                    why=got.get("StandardErrorContent", "").strip() or status,
                    do="It needs openssl 3, and /run in memory. Then run this again.",
                )
            outputs[instance_id] = got["StandardOutputContent"]
        if len(outputs) == len(sent):
            return outputs
    late = ", ".join(one for one in sent if one not in outputs)
    raise SetupError(f"{late} did not answer within {_ANSWER_SECONDS} s.", do="See invoke info, then try again.")
