"""The newest Neuron AMI, whose id is in a public SSM parameter."""

from __future__ import annotations

from constructs import Construct

from stacks.provider import DataAwsAmi, DataAwsAmiFilter, DataAwsSsmParameter


class MachineImage(Construct):
    """An AMI looked up when Terraform plans. `id` and `root_device_name` are references to it."""

    def __init__(self, scope: Construct, name: str, *, ami_parameter: str) -> None:
        super().__init__(scope, name)
        parameter = DataAwsSsmParameter(self, "parameter", name=ami_parameter)
        parameter.override_logical_id("ami")
        # `insecure_value`, because the provider marks `value` as sensitive and the plan would not show it.
        self.id = parameter.insecure_value
        ami = DataAwsAmi(self, "ami", filter=[DataAwsAmiFilter(name="image-id", values=[self.id])])
        ami.override_logical_id("machine")
        self.root_device_name = ami.root_device_name
