terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

variable "offering" {
  type = string
}

provider "aws" {
  region = "sa-east-1"
}

resource "aws_ec2_capacity_block_reservation" "bought" {
  capacity_block_offering_id = var.offering
  instance_platform          = "Linux/UNIX"
  tags                       = { Name = "by-terraform" }
}
