"""botocore's service models as it ships them: what requests and answers are held to.

moto has a copy of its own with additions; a check of what moto wrote has to do without those.
"""

from __future__ import annotations

import functools

from botocore.loaders import Loader
from botocore.model import OperationModel, OperationNotFoundError, ServiceModel
from moto.core.utils import service_name_from_moto_package_name

_loader = Loader()


@functools.cache
def service_model(service: str) -> ServiceModel:
    """The model of a service, by moto's name for it or botocore's."""
    name = service_name_from_moto_package_name(service)
    return ServiceModel(_loader.load_service_model(name, "service-2"), name)


def operation_model(service: str, operation: str) -> OperationModel | None:
    """None for what is no operation of the service."""
    try:
        return service_model(service).operation_model(operation)
    except OperationNotFoundError:
        return None
