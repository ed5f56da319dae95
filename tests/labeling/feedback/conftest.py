"""Production, as labeling sees it: predictions and feedback on the log, and a consumer that reads all when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from regrow.events.v1 import events_pb2
from services.common.events.cloud_events import envelope
from services.common.events.consume import run_consumer
from services.common.events.port import FEEDBACK, PREDICTIONS, Event
from services.labeling.feedback.consumer import FeedbackConsumer
from services.labeling.feedback.handlers import Feedback
from services.labeling.feedback.lag import GROUP
from services.labeling.label_sets.handlers import LabelSets
from services.labeling.label_sets.model import LabelSetOrder
from services.labeling.labelers.handlers import Labelers
from services.labeling.votes.handlers import write_votes
from services.labeling.votes.rules import NewVote

MODEL = "projects/shop/models/spam"


@dataclass
class Production:
    """Sends what the gateway sends. Nothing is applied until `apply`."""

    world: Any
    consumer: FeedbackConsumer
    feedback: Feedback
    model: str = MODEL
    sent: list[str] = field(default_factory=list)

    def predict(self, prediction: str, model: str = MODEL, **features: object) -> None:
        message = events_pb2.Prediction(
            prediction_id=prediction, model=model, version=1, problem_spec=self.world.spec, dataset=self.world.dataset
        )
        message.features.update(features or {"comment": f"text of {prediction}", "likes": 3})
        self._append(PREDICTIONS, prediction, message.SerializeToString(), model)

    def label(
        self, event_id: str, prediction: str = "", classes: tuple[str, ...] = ("spam",), source: str = "app",
        model: str = MODEL, features: dict[str, object] | None = None, spec: str | None = None, hour: int = 0,
    ) -> int:  # fmt: skip
        """Answers the event's offset."""
        message = events_pb2.Feedback(
            event_id=event_id, model=model, prediction_id=prediction, class_names=classes, source=source,
            problem_spec=self.world.spec if spec is None else spec, dataset=self.world.dataset,
        )  # fmt: skip
        message.accept_time.FromDatetime(datetime(2026, 5, 1, tzinfo=UTC))
        message.observe_time.FromDatetime(datetime(2026, 4, 30, hour, tzinfo=UTC))
        if features is not None:
            message.features.update(features)
        self.sent.append(event_id)
        return self._append(FEEDBACK, event_id, message.SerializeToString(), model)

    def poison(self) -> int:
        return self._append(FEEDBACK, "poison", b"\xff\xff not a message", MODEL)

    def apply(self, *topics: str) -> None:
        """Applies all that lies on the log; the feedback last unless the topics say otherwise."""
        for topic in topics or (PREDICTIONS, FEEDBACK):
            with closing(self.world.log.consumer([topic], group=GROUP)) as reader:
                while self.world.log.committed(GROUP, topic) != self.world.log.ends(topic):
                    self._handle(topic)(reader.poll(timeout=timedelta(seconds=5), max_records=7))
                    reader.commit()

    def run(self, topic: str) -> None:
        """As `apply`, by the loop that runs in production."""
        stop = threading.Event()
        thread = threading.Thread(target=run_consumer, args=(self.world.log, [topic], GROUP, self._handle(topic), stop))
        thread.start()
        self.wait_until(lambda: self.world.log.committed(GROUP, topic) == self.world.log.ends(topic))
        stop.set()
        thread.join()

    def _handle(self, topic: str) -> Callable[..., None]:
        return self.consumer.handle_predictions if topic == PREDICTIONS else self.consumer.handle_feedback

    @staticmethod
    def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.01)

    def ends(self) -> dict[tuple[str, int], int]:
        return dict(self.world.log.ends(FEEDBACK))

    def _append(self, topic: str, event_id: str, value: bytes, model: str) -> int:
        headers = envelope(id=event_id, type=f"{topic}.v1", source="/gateway", time=datetime.now(UTC))
        return self.world.log.append(topic, [Event(key=model, value=value, headers=headers)])[0][1]


@pytest.fixture
def production(world):
    consumer = FeedbackConsumer(world.log, world.database)
    return Production(world=world, consumer=consumer, feedback=Feedback(world.database, world.log))


@pytest.fixture
def base_label_set(world) -> str:
    """What the champion was trained on: a crowd's votes and the target column."""
    with world.database.session() as session:
        votes = [NewVote(row=row, labeler=world.crowd, classes=("ham" if row % 3 else "spam",)) for row in range(50)]
        write_votes(session, world.dataset, votes)
    label_sets = LabelSets(world.database, world.objects, Labelers(world.database, world.objects))
    return label_sets.create(LabelSetOrder(parent=world.dataset, problem_spec=world.spec, label_set_id="base")).name
