"""The AWS provider's classes that `stacks` uses, imported without the seconds that their package costs.

The `__init__` of the package imports its some 1,400 modules, and Python runs it before any single one of them: 11 s
for a stack that needs a dozen. Those need only the package's `_jsii`, which each imports itself. So this module puts
the package into `sys.modules` without running its `__init__`, and the submodules then import as usual.

This relies on the layout of one release, so any other is refused: the usual import would work, and be slow. To move
to another release, change torchneuron/core/versions.py and `Pipfile` and run the tests; one of them checks that the
`__init__` did not run.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from typing import TYPE_CHECKING

from stacks.cdk import IS_CDKTF
from torchneuron.core.errors import InputError
from torchneuron.core.versions import CDKTF_AWS_PROVIDER, CDKTN_AWS_PROVIDER

PACKAGE = "cdktf_cdktf_provider_aws" if IS_CDKTF else "cdktn_provider_aws"
DISTRIBUTION = "cdktf-cdktf-provider-aws" if IS_CDKTF else "cdktn-provider-aws"
RELEASE = CDKTF_AWS_PROVIDER if IS_CDKTF else CDKTN_AWS_PROVIDER

_CLASSES = {
    "data_aws_ami": (
        "DataAwsAmi",
        "DataAwsAmiFilter",
    ),
    "data_aws_ssm_parameter": ("DataAwsSsmParameter",),
    "data_aws_subnet": ("DataAwsSubnet",),
    "ebs_volume": ("EbsVolume",),
    "iam_instance_profile": ("IamInstanceProfile",),
    "iam_role": ("IamRole",),
    "iam_role_policy": ("IamRolePolicy",),
    "instance": (
        "Instance",
        "InstanceLaunchTemplate",
    ),
    "launch_template": (
        "LaunchTemplate",
        "LaunchTemplateBlockDeviceMappings",
        "LaunchTemplateBlockDeviceMappingsEbs",
        "LaunchTemplateCapacityReservationSpecification",
        "LaunchTemplateCapacityReservationSpecificationCapacityReservationTarget",
        "LaunchTemplateIamInstanceProfile",
        "LaunchTemplateInstanceMarketOptions",
        "LaunchTemplateMetadataOptions",
        "LaunchTemplateTagSpecifications",
    ),
    "provider": (
        "AwsProvider",
        "AwsProviderDefaultTags",
    ),
    "secretsmanager_secret": ("SecretsmanagerSecret",),
    "secretsmanager_secret_version": ("SecretsmanagerSecretVersion",),
    "security_group": (
        "SecurityGroup",
        "SecurityGroupEgress",
        "SecurityGroupIngress",
    ),
    "volume_attachment": ("VolumeAttachment",),
}
"""By the module of the package that defines them."""

if TYPE_CHECKING:
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
    from cdktf_cdktf_provider_aws.security_group import SecurityGroup, SecurityGroupEgress, SecurityGroupIngress
    from cdktf_cdktf_provider_aws.volume_attachment import VolumeAttachment


def enter_without_running(package: str, *, distribution: str, release: str) -> None:
    """Make the submodules of `package` importable without running its `__init__`.

    Does nothing if the package is imported already. Raises InputError if `distribution` is not installed in `release`.
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
            f"{distribution} {installed} is installed; stacks/provider.py supports {release} only.",
            why="It relies on the layout of that release.",
            do=f"Install {release} (pipenv sync), or adapt stacks/provider.py.",
        )
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise _layout_changed(f"there is no package {package}")
    sys.modules[package] = importlib.util.module_from_spec(spec)


def _layout_changed(why: str) -> InputError:
    return InputError(
        f"{DISTRIBUTION} {RELEASE} does not have the layout that stacks/provider.py expects.",
        why=f"{why[:1].upper()}{why[1:]}.",
        do=f"Install it again (pipenv sync). If that does not help, compare {PACKAGE}/__init__.py.",
    )


def _import_classes() -> None:
    """Import the classes of the table into this module."""
    for module, names in _CLASSES.items():
        classes = importlib.import_module(f"{PACKAGE}.{module}")
        globals().update({name: getattr(classes, name) for name in names})


enter_without_running(PACKAGE, distribution=DISTRIBUTION, release=RELEASE)
try:
    _import_classes()
except (ImportError, AttributeError) as error:
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
