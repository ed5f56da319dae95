"""What an S3 store refuses, in the words of the domain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minio.error import MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, SSLError

from services.common.errors import EngineUnavailable, RegrowError

_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "AllAccessDisabled"}
_PROBLEMS = {
    "NoSuchBucket": "a bucket is missing; restore it from a backup",
    "XMinioStorageFull": "the disk is full; free some space",
    "XMinioAdminBucketQuotaExceeded": "a bucket's quota is used up; raise it or free some space",
    "RequestTimeTooSkewed": "its clock and this machine's differ by minutes; set them right",
}


def is_gone(error: S3Error) -> bool:
    """Whether the object isn't there."""
    return error.code == "NoSuchKey"


def is_taken(error: S3Error) -> bool:
    """Whether a condition on the object failed: it is there though it must not be, or it is another."""
    return error.code == "PreconditionFailed"


def is_range_outside(error: S3Error) -> bool:
    """Whether the asked range begins behind the object's last byte."""
    return error.code == "InvalidRange"


def is_lost_upload(error: S3Error) -> bool:
    """Whether the parts of an upload aren't there: they became the object already, or the store gave them up."""
    return error.code == "NoSuchUpload"


def is_replaced(error: RegrowError) -> bool:
    """Whether a reader's object is another by now: reading from the beginning works."""
    cause = error.__cause__
    return isinstance(cause, S3Error) and is_taken(cause)


def is_refusal(error: RegrowError) -> bool:
    """Whether waiting won't help: the store answers, and doesn't let us in."""
    cause = error.__cause__
    return isinstance(cause, S3Error) and is_forbidden(cause)


def is_forbidden(error: S3Error) -> bool:
    """Whether the key is wrong, or may not do this."""
    return error.code in _REFUSED


@contextmanager
def s3_errors() -> Iterator[None]:
    """Turns what the client raises into `EngineUnavailable`. What is about the object itself goes through as it is."""
    try:
        yield
    except S3Error as error:
        if any(told(error) for told in (is_gone, is_taken, is_range_outside, is_lost_upload)):
            raise
        raise EngineUnavailable("objects", _problem(error)) from error
    except ServerError as error:
        raise EngineUnavailable("objects", f"the store answers {error.status_code}; it may be starting") from error
    except MinioException as error:
        raise EngineUnavailable("objects", "the store answers with something that is no S3") from error
    except HTTPError as error:
        raise EngineUnavailable("objects", _connection_problem(error)) from error


def _problem(error: S3Error) -> str:
    if is_forbidden(error):
        return "the store refuses the key; see REGROW_MINIO_ACCESS_KEY, REGROW_MINIO_SECRET_KEY and what that key may do"
    return _PROBLEMS.get(error.code or "", f"the store answers '{error.code}'")


def _connection_problem(error: HTTPError) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, SSLError):
        return "its certificate isn't trusted, or it speaks no TLS; see REGROW_MINIO_CA_FILE and REGROW_MINIO_ENDPOINT"
    return "the store doesn't answer"
