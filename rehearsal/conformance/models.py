"""botocore's own service models, against which requests and responses are validated.

moto has a copy with additions, which a check of moto must not use.
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
    """The model of an operation; None when the service does not have it."""
    try:
        return service_model(service).operation_model(operation)
    except OperationNotFoundError:
        return None
