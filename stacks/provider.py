"""The AWS provider's classes that `stacks` uses, without the seconds its package costs.

`cdktf_cdktf_provider_aws/__init__.py` imports every one of its some 1,400 modules, and Python runs it
before any single one of them: 11 s for a stack that needs a dozen. Nothing in those
dozen needs it. Each imports the package's `_jsii` by itself, which loads the jsii assembly, and
that is all a class needs to work. So the package is entered into `sys.modules` as found but not run,
and its submodules then import by the usual rules.

This holds for the release it was read in. Any other is refused by name, at once, because falling
back to the usual import would look like success and be slow. To move to another release: pin it
here and in `Pipfile`, and run the tests; one of them checks that the package's own `__init__` was not run.

Everything in `stacks` takes the provider's classes from here, so this is also the list of them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys

from torchneuron.core.errors import InputError
from torchneuron.core.versions import CDKTF_AWS_PROVIDER

PACKAGE = "cdktf_cdktf_provider_aws"
DISTRIBUTION = "cdktf-cdktf-provider-aws"
RELEASE = CDKTF_AWS_PROVIDER


def enter_without_running(package: str, *, distribution: str, release: str) -> None:
    """Let `package`'s submodules be imported without its `__init__` having run.

    Does nothing where the package has been imported already: its cost is paid then.
    Raises InputError if `distribution` is not installed, or not in `release`.
    """
    if package in sys.modules:
        return
    try:
        installed = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"{distribution} is not installed.",
            do="Install the project's packages: pipenv sync, then pipenv run python main.py.",
        ) from error
    if installed != release:
        raise InputError(
            f"{distribution} {installed} is installed; stacks/provider.py knows {release} only.",
            why="How it imports the package depends on the package's layout.",
            do=f"Install {release} (pipenv sync), or teach stacks/provider.py the new release.",
        )
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise _layout_changed(f"there is no package {package}")
    sys.modules[package] = importlib.util.module_from_spec(spec)


def _layout_changed(why: str) -> InputError:
    return InputError(
        f"{DISTRIBUTION} {RELEASE} is not laid out as stacks/provider.py expects.",
        why=f"{why[:1].upper()}{why[1:]}.",
        do=f"Install it again (pipenv sync); if that changes nothing, compare {PACKAGE}/__init__.py.",
    )


enter_without_running(PACKAGE, distribution=DISTRIBUTION, release=RELEASE)

try:
    from cdktf_cdktf_provider_aws.data_aws_ami import DataAwsAmi, DataAwsAmiFilter
    from cdktf_cdktf_provider_aws.data_aws_ssm_parameter import DataAwsSsmParameter
    from cdktf_cdktf_provider_aws.data_aws_subnet import DataAwsSubnet
    from cdktf_cdktf_provider_aws.ebs_volume import EbsVolume
    from cdktf_cdktf_provider_aws.iam_instance_profile import IamInstanceProfile
    from cdktf_cdktf_provider_aws.iam_role import IamRole
    from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
    from cdktf_cdktf_provider_aws.instance import Instance, InstanceLaunchTemplate
    from cdktf_cdktf_provider_aws.launch_template import (
        LaunchTemplate,
        LaunchTemplateBlockDeviceMappings,
        LaunchTemplateBlockDeviceMappingsEbs,
        LaunchTemplateCapacityReservationSpecification,
        LaunchTemplateCapacityReservationSpecificationCapacityReservationTarget,
        LaunchTemplateIamInstanceProfile,
        LaunchTemplateInstanceMarketOptions,
        LaunchTemplateMetadataOptions,
        LaunchTemplateTagSpecifications,
    )
    from cdktf_cdktf_provider_aws.provider import AwsProvider, AwsProviderDefaultTags
    from cdktf_cdktf_provider_aws.secretsmanager_secret import SecretsmanagerSecret
    from cdktf_cdktf_provider_aws.secretsmanager_secret_version import SecretsmanagerSecretVersion
    from cdktf_cdktf_provider_aws.security_group import (
        SecurityGroup,
        SecurityGroupEgress,
        SecurityGroupIngress,
    )
    from cdktf_cdktf_provider_aws.volume_attachment import VolumeAttachment
except ImportError as error:
    raise _layout_changed(str(error)) from error

__all__ = [
    "AwsProvider",
    "AwsProviderDefaultTags",
    "DataAwsAmi",
    "DataAwsAmiFilter",
    "DataAwsSsmParameter",
    "DataAwsSubnet",
    "EbsVolume",
    "IamInstanceProfile",
    "IamRole",
    "IamRolePolicy",
    "Instance",
    "InstanceLaunchTemplate",
    "LaunchTemplate",
    "LaunchTemplateBlockDeviceMappings",
    "LaunchTemplateBlockDeviceMappingsEbs",
    "LaunchTemplateCapacityReservationSpecification",
    "LaunchTemplateCapacityReservationSpecificationCapacityReservationTarget",
    "LaunchTemplateIamInstanceProfile",
    "LaunchTemplateInstanceMarketOptions",
    "LaunchTemplateMetadataOptions",
    "LaunchTemplateTagSpecifications",
    "SecretsmanagerSecret",
    "SecretsmanagerSecretVersion",
    "SecurityGroup",
    "SecurityGroupEgress",
    "SecurityGroupIngress",
    "VolumeAttachment",
]
