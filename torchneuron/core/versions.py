"""Versions that more than one part of the project requires."""

MINIMUM_TERRAFORM = "1.11"
"""The oldest release of Terraform that works: write-only arguments keep the password out of the state."""
