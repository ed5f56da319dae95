"""The OpenAPI 3.1 document of the REST API, made from the descriptors; the protos' comments are its descriptions."""

from services.gateway.openapi.document import document

__all__ = ["document"]
