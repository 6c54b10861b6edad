terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

variable "window" {
  type = object({ start = string, end = string })
}

provider "aws" {
  region = "sa-east-1"
}

data "aws_caller_identity" "me" {}
data "aws_region" "here" {}
data "aws_availability_zones" "all" {}

data "aws_ec2_instance_type_offerings" "zones" {
  location_type = "availability-zone"
  filter {
    name   = "instance-type"
    values = ["trn2.3xlarge"]
  }
}

data "aws_ec2_instance_type" "trn2" {
  instance_type = "trn2.3xlarge"
}

data "aws_ec2_capacity_block_offering" "day" {
  instance_type           = "trn2.3xlarge"
  instance_count          = 1
  capacity_duration_hours = 24
  start_date_range        = var.window.start
  end_date_range          = var.window.end
}

data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "there" {
  filter {
    name   = "availability-zone"
    values = data.aws_ec2_instance_type_offerings.zones.locations
  }
}

data "aws_subnet" "one" {
  id = data.aws_subnets.there.ids[0]
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/neuron/dlami/multi-framework/ubuntu-24.04/latest/image_id"
}

data "aws_ami" "neuron" {
  filter {
    name   = "image-id"
    values = [data.aws_ssm_parameter.image.insecure_value]
  }
}

data "aws_ssm_parameter" "saved" {
  name = "/capacity-block/sa-east-1/reservation-id"
}

data "aws_secretsmanager_secret" "password" {
  name = "code-server"
}

data "aws_secretsmanager_secret_version" "password" {
  secret_id = data.aws_secretsmanager_secret.password.id
}


resource "aws_ec2_capacity_reservation" "on_demand" {
  instance_type     = "trn2.3xlarge"
  instance_platform = "Linux/UNIX"
  availability_zone = data.aws_subnet.one.availability_zone
  instance_count    = 1
  tags              = { Name = "team" }
}

resource "aws_launch_template" "block" {
  name          = "on-block"
  image_id      = data.aws_ami.neuron.id
  instance_type = "trn2.3xlarge"
  instance_market_options {
    market_type = "capacity-block"
  }
  capacity_reservation_specification {
    capacity_reservation_target {
      capacity_reservation_id = data.aws_ssm_parameter.saved.insecure_value
    }
  }
}

data "aws_launch_template" "block" {
  id = aws_launch_template.block.id
}

resource "aws_instance" "one" {
  subnet_id = data.aws_subnet.one.id
  launch_template {
    id = aws_launch_template.block.id
  }
  tags = { Name = "by-hand" }
}

data "aws_instance" "one" {
  instance_id = aws_instance.one.id
}

data "aws_instances" "on_block" {
  filter {
    name   = "capacity-reservation-id"
    values = [data.aws_ssm_parameter.saved.insecure_value]
  }
  depends_on = [aws_instance.one]
}

resource "aws_ssm_parameter" "noted" {
  name  = "/team/instance"
  type  = "String"
  value = aws_instance.one.id
}

output "found" {
  value = {
    account   = data.aws_caller_identity.me.account_id
    region    = data.aws_region.here.name
    zones     = data.aws_availability_zones.all.names
    offered   = data.aws_ec2_instance_type_offerings.zones.locations
    vcpus     = data.aws_ec2_instance_type.trn2.default_vcpus
    offering  = data.aws_ec2_capacity_block_offering.day
    subnet    = { id = data.aws_subnet.one.id, zone = data.aws_subnet.one.availability_zone }
    vpc       = { default = data.aws_vpc.default.id, subnet = data.aws_subnet.one.vpc_id }
    image     = { parameter = data.aws_ssm_parameter.image.insecure_value, id = data.aws_ami.neuron.id, name = data.aws_ami.neuron.name }
    saved     = data.aws_ssm_parameter.saved.insecure_value
    template  = data.aws_launch_template.block
    instance  = data.aws_instance.one
    instances = data.aws_instances.on_block.ids
    on_demand = aws_ec2_capacity_reservation.on_demand
    secret    = nonsensitive(data.aws_secretsmanager_secret_version.password.secret_string)
  }
}
