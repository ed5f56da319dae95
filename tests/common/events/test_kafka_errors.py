"""What goes wrong with Kafka, told in words: no name of a class, and none of the text that holds requests."""

from __future__ import annotations

import pytest
from kafka import errors
from pydantic import SecretStr

from services.common.events.kafka_access import KafkaAccess
from services.common.events.kafka_append import _UnsettledError

KINDS = [one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.KafkaError)]
PLAIN = KafkaAccess(bootstrap="broker:9092")
SIGNED = KafkaAccess(bootstrap="broker:9092", protocol="SASL_SSL", username="regrow", password=SecretStr("open barley"))


@pytest.mark.parametrize("kind", [*KINDS, OSError, RuntimeError, _UnsettledError], ids=lambda kind: kind.__name__)
def test_no_error_of_the_client_is_told_by_the_name_of_its_class(kind: type[Exception]) -> None:
    for access in (PLAIN, SIGNED):
        told = access.told(kind.__new__(kind)).message  # some want arguments
        assert told.startswith("events can't be reached: Kafka at broker:9092 ")
        assert "Error" not in told and kind.__name__ not in told and "barley" not in told


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.KafkaTimeoutError(), "doesn't answer as PLAINTEXT: nothing came from it in time."),
        (_UnsettledError(), "doesn't answer as PLAINTEXT: nothing came from it in time."),
        (errors.KafkaConnectionError(), "doesn't answer as PLAINTEXT: there is no connection, or it broke off."),
        (ConnectionResetError(), "doesn't answer as PLAINTEXT: there is no connection, or it broke off."),
        (errors.NotEnoughReplicasError(), "answers NOT_ENOUGH_REPLICAS."),
        (errors.TopicAuthorizationFailedError(), "doesn't allow this to Regrow's user (TOPIC_AUTHORIZATION_FAILED);"),
        (errors.SaslAuthenticationFailedError(), "refused the sign-in; check REGROW_KAFKA_SASL_MECHANISM,"),
        (errors.UnsupportedSaslMechanismError(), "doesn't take SCRAM-SHA-512 for the sign-in; check"),
    ],
)
def test_what_is_told_says_what_happened_and_what_to_look_at(error: Exception, words: str) -> None:
    assert f"Kafka at broker:9092 {words}" in PLAIN.told(error).message
