"""The artifact of a model version: its format, and the runtime that predicts with it without torch."""

from services.common.bundle.manifest import Manifest, Part
from services.common.bundle.parts import write_bundle
from services.common.bundle.runtime import Bundle, Predictions, Request
from services.common.bundle.values import Input, Warning

__all__ = ["Bundle", "Input", "Manifest", "Part", "Predictions", "Request", "Warning", "write_bundle"]
