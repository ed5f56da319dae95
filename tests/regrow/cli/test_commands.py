"""Commands against a real gRPC server whose answers are written here: what is printed, where, and with which exit code."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from regrow.cli import asking, main, runs
from regrow.cli.asking import Session, ask
from regrow.cli.options import Mistake
from regrow.client import Client
from regrow.credentials import Credentials, store_credentials, stored_credentials
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import annotation_pb2, datasets_pb2, feedback_ledger_pb2, labelers_pb2, votes_pb2
from regrow.registry.v1 import registry_pb2
from regrow.rows import struct
from regrow.training.v1 import batch_predictions_pb2, designs_pb2, policies_pb2, runs_pb2
from regrow.types.v1 import problem_spec_pb2, schema_pb2

Run = Callable[..., tuple[int, str, str]]


def explained(typer_app: Any, path: str = "regrow") -> dict[str, str]:
    """Every command and group with what its help says."""
    found = {f"{path} {c.name or c.callback.__name__}": c.callback.__doc__ or "" for c in typer_app.registered_commands}
    for group in typer_app.registered_groups:
        inner = group.typer_instance
        found |= {f"{path} {group.name}": inner.info.help or "", **explained(inner, f"{path} {group.name}")}
    return found


def test_every_command_explains_itself(run: Run) -> None:
    found = explained(main.app)
    assert len(found) > 45
    assert [name for name, text in found.items() if not text.strip().endswith(".")] == []
    for words in ((), ("label", "add"), ("try",)):
        code, out, _ = run(*words, "--help")
        assert (code, "Usage: " in out) == (0, True)


def test_a_refusal_is_a_sentence_without_a_traceback(run: Run, gateway: Any, refusal: Any) -> None:
    def refuse(_: Any) -> Any:
        raise refusal(grpc.StatusCode.NOT_FOUND, "There is no model 'nope'.", reason="NOT_FOUND")

    gateway.on("Predict", refuse)
    assert run("predict", "nope", "text=x") == (1, "", "Error: There is no model 'nope'.\n")


def test_several_wrong_fields_are_listed(run: Run, gateway: Any, refusal: Any) -> None:
    fields = {"rows[0].age": "'old' is no number", "rows[1].age": "'new' is no number"}

    def refuse(_: Any) -> Any:
        message = "; ".join(f"{name}: {problem}" for name, problem in fields.items())
        raise refusal(grpc.StatusCode.INVALID_ARGUMENT, message, reason="INVALID_FIELDS", fields=fields)

    gateway.on("Predict", refuse)
    code, _, err = run("predict", "m", "age=old")
    assert code == 1
    assert err == "Error: 2 fields are wrong.\n  rows[0].age: 'old' is no number\n  rows[1].age: 'new' is no number\n"


def test_a_missing_key_comes_with_what_to_do(run: Run, gateway: Any, refusal: Any) -> None:
    def refuse(_: Any) -> Any:
        raise refusal(grpc.StatusCode.UNAUTHENTICATED, "The key is not known.", reason="UNAUTHENTICATED")

    gateway.on("GetCaller", refuse)
    code, _, err = run("login", "--check")
    assert code == 1
    assert "regrow login" in err
    assert "regrow keys reset" in err


def test_no_gateway_is_told_with_how_to_start_one(run: Run) -> None:
    store_credentials(Credentials(grpc_address="127.0.0.1:1", key="rg_x"))
    code, out, err = run("status")
    assert (code, out) == (1, "")
    assert err.startswith("Error: No Regrow answers at 127.0.0.1:1. Start one with `regrow up`")


@pytest.mark.parametrize("words", [("m", "3"), ("m/3",), ("projects/default/models/m", "3")])
def test_a_version_is_promoted_however_it_is_named(run: Run, gateway: Any, words: tuple[str, ...]) -> None:
    gateway.on("GetAlias", lambda request: registry_pb2.Alias(name=request.name, etag="e"))
    gateway.on("SetAlias", lambda request: registry_pb2.Alias(name=request.name, version=request.version))
    code, _, err = run("promote", *words)
    assert (code, "m/champion is m/3 now." in err) == (0, True)


def test_promoting_no_version_says_how_to_name_one(run: Run) -> None:
    code, _, err = run("promote", "m")
    assert (code, "Which version of 'm'? Write m/3" in err) == (1, True)


@pytest.mark.parametrize(("trivial", "told"), [(0.55, True), (0.3, False)])
def test_a_model_that_can_not_be_told_from_the_trivial_answer_is_told(
    capsys: pytest.CaptureFixture[str], trivial: float, told: bool
) -> None:
    ours = runs_pb2.Score(metric="macro_f1", value=0.6, low=0.5, high=0.7)
    baseline = runs_pb2.BaselineScore(name="majority_class", scores=[runs_pb2.Score(metric="macro_f1", value=trivial)])
    runs.show_report(runs_pb2.RunReport(selection=ours, holdout=[ours], baselines=[baseline], holdout_rows=60))
    assert ("can't be told from always answering" in capsys.readouterr().err) is told


def test_a_labeler_without_a_human_labeler_learns_whom_to_ask_for_what(gateway: Any, refusal: Any) -> None:
    def refuse(code: grpc.StatusCode) -> Callable[[Any], Any]:
        def answer(_: Any) -> Any:
            raise refusal(code, "no")

        return answer

    gateway.on("GetLabeler", refuse(grpc.StatusCode.NOT_FOUND))
    gateway.on("CreateLabeler", refuse(grpc.StatusCode.PERMISSION_DENIED))
    spec = problem_spec_pb2.ProblemSpec(name="projects/default/problemSpecs/spam")
    with Client(gateway.address, "k") as client, pytest.raises(Mistake, match="regrow label add human spam-human -s spam"):
        asking.human_labeler(client, spec, "")


@pytest.mark.parametrize(
    ("state", "word"), [(runs_pb2.RUN_STATE_RUNNING, "being cancelled"), (runs_pb2.RUN_STATE_SUCCEEDED, "succeeded")]
)
def test_a_cancelled_run_is_told_as_what_it_is_now(run: Run, gateway: Any, state: Any, word: str) -> None:
    gateway.on("CancelRun", lambda request: runs_pb2.Run(name=request.name, state=state))
    assert f"r is {word}." in run("runs", "cancel", "r")[2]


def test_a_wrong_command_line_has_its_own_exit_code(run: Run) -> None:
    assert run("promote", "m", "newest")[0] == 2
    assert run("no-such-command")[0] == 2


def test_predictions_are_printed_for_people_and_for_scripts(run: Run, gateway: Any, tmp_path: Path) -> None:
    def predict(request: Any) -> Any:
        top = [gateway_pb2.ClassProbability(class_name="=spam", probability=0.9)]
        warnings = [gateway_pb2.FieldWarning(field="age", problem="is not in the row")]
        one = gateway_pb2.Prediction(prediction_id="p1", class_names=["=spam"], probabilities=top, warnings=warnings)
        return gateway_pb2.PredictResponse(predictions=[one] * len(request.rows))

    gateway.on("Predict", predict)
    code, out, err = run("predict", "m", "text=hello\x1b[2Jthere")
    assert code == 0
    assert "=spam 0.900" in out
    assert "\x1b" not in out
    assert "! row 1, age: is not in the row" in err
    _, out, _ = run("predict", "m", "-j", '{"text": "x"}', "--json")
    assert json.loads(out)[0]["predictionId"] == "p1"
    (tmp_path / "rows.csv").write_text("text,n\nx,1\ny,-2\n")
    _, out, _ = run("predict", "m", "-f", str(tmp_path / "rows.csv"), "--format", "csv")
    assert out == "text,n,prediction,probability,prediction_id\nx,1,'=spam,0.900000,p1\ny,-2,'=spam,0.900000,p1\n"


def test_rows_must_come_in_exactly_one_way(run: Run) -> None:
    for words in ((), ("a=1", "-j", "{}")):
        code, _, err = run("predict", "m", *words)
        assert code == 1
        assert "in one way" in err


def _committed(requests: list[Any]) -> list[Any]:
    """All pieces but those about a cat."""
    sent = [one for request in requests for one in request.feedback]
    refused = [
        gateway_pb2.RefusedFeedback(index=index, field="class_names[0]", problem="'cat' is no class.")
        for index, one in enumerate(sent)
        if "cat" in one.class_names
    ]
    count = len(sent) - len(refused)
    return [
        gateway_pb2.StreamFeedbackResponse(
            received_count=len(sent), committed_count=count, refused_count=len(refused), refused=refused
        )
    ]


def test_rows_of_a_file_that_are_refused_are_told_and_the_others_are_committed(run: Run, gateway: Any, tmp_path: Path) -> None:
    gateway.on("StreamFeedback", _committed)
    lines = [{"prediction_id": f"p{n}", "class": "cat" if n == 2 else "dog"} for n in range(4)]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))
    code, _, err = run("feedback", "send", "m", "-f", str(tmp_path / "labels.jsonl"))
    assert code == 1
    assert "row 3: class_names[0]: 'cat' is no class." in err
    assert "1 rows were refused; the other 3 are committed." in err


def test_feedback_from_a_file_tells_features_from_labels(run: Run, gateway: Any, tmp_path: Path) -> None:
    gateway.on("StreamFeedback", _committed)
    (tmp_path / "labels.csv").write_text("prediction_id,text,class,event_id\np1,,spam,e1\n,hello,ham|spam,\n")
    code, _, err = run("feedback", "send", "m", "-f", str(tmp_path / "labels.csv"), "--source", "crowd")
    assert (code, err) == (0, "✓ 2 committed.\n")
    first, second = gateway.requests[0][1].feedback
    assert (first.prediction_id, first.event_id, list(first.class_names), first.source) == ("p1", "e1", ["spam"], "crowd")
    assert not first.HasField("features")
    assert dict(second.features.items()) == {"text": "hello"}
    assert list(second.class_names) == ["ham", "spam"]


def test_feedback_that_may_be_committed_says_which_option_repeats_it(
    run: Run, gateway: Any, refusal: Any, tmp_path: Path
) -> None:
    def away(_: Any) -> Any:
        raise refusal(grpc.StatusCode.UNAVAILABLE, "The log is away.", retry=5)

    gateway.on("StreamFeedback", away)
    gateway.on("SendFeedback", away)
    (tmp_path / "labels.csv").write_text("prediction_id,class\np,yes\n")
    code, _, err = run("feedback", "send", "m", "-f", str(tmp_path / "labels.csv"), "--request-id", "monday")
    assert code == 1 and "The log is away." in err and "--request-id monday" in err
    assert gateway.requests[-1][1].feedback[0].event_id == "monday-0"
    code, _, err = run("feedback", "send", "m", "--prediction", "p", "-c", "yes")
    assert code == 1 and f"--event-id {gateway.requests[-1].feedback.event_id}" in err


def test_odd_feedback_is_listed_with_what_it_stands_against(run: Run, gateway: Any) -> None:
    issue = feedback_ledger_pb2.FeedbackIssue(
        event_id="e7", source="shop", class_names=["ham"], other_class_names=["spam"], other_source="desk",
        fate=feedback_ledger_pb2.FEEDBACK_FATE_DISAGREED,
    )  # fmt: skip
    gateway.on("ListFeedbackIssues", lambda _: feedback_ledger_pb2.ListFeedbackIssuesResponse(issues=[issue]))
    code, out, _ = run("feedback", "issues", "m", "--fate", "disagreed")
    assert code == 0
    assert all(words in out for words in ("e7", "shop", "ham", "disagreed", "spam (desk)"))
    assert gateway.requests[-1].fate == feedback_ledger_pb2.FEEDBACK_FATE_DISAGREED
    code, _, err = run("feedback", "issues", "m", "--fate", "lost")
    assert (code, "is none of: repeated, reused_id" in err) == (1, True)


def test_the_stats_of_feedback_tell_the_fates_that_were_met(run: Run, gateway: Any) -> None:
    met = feedback_ledger_pb2.FateCount(fate=feedback_ledger_pb2.FEEDBACK_FATE_LATE, count=1234)
    gateway.on("GetFeedbackStats", lambda request: feedback_ledger_pb2.FeedbackStats(model=request.parent, fates=[met]))
    code, out, _ = run("feedback", "stats", "m")
    assert code == 0
    assert "came after their regrowth" in out and "1,234" in out and "disagreed" not in out


def test_the_stats_of_feedback_say_how_many_predictions_are_not_read_and_what_that_means_for_the_unmatched(
    run: Run, gateway: Any
) -> None:
    behind = feedback_ledger_pb2.FeedbackStats(unmatched=250, prediction_lag=67_188)
    gateway.on("GetFeedbackStats", lambda _: behind)
    _, out, err = run("feedback", "stats", "m")
    assert "67,188" in next(line for line in out.splitlines() if "predictions not read yet" in line)
    assert "unmatched until it is" in err
    behind.prediction_lag = 0
    assert "unmatched until it is" not in run("feedback", "stats", "m")[2]


def test_votes_from_a_file_have_ids_of_their_content(run: Run, gateway: Any, tmp_path: Path) -> None:
    gateway.on("GetLabeler", lambda _: labelers_pb2.Labeler(problem_spec="projects/default/problemSpecs/s"))
    gateway.on("GetProblemSpec", lambda _: problem_spec_pb2.ProblemSpec(dataset="projects/default/datasets/d"))
    gateway.on("WriteVotes", lambda _: votes_pb2.WriteVotesResponse(written=2))
    (tmp_path / "votes.csv").write_text("row,class,confidence\n3,spam,0.5\n4,ham,\n")
    for _ in range(2):
        assert run("label", "votes", "ext", str(tmp_path / "votes.csv"))[0] == 0
    first, second = ([v for m in r for v in m.votes] for r in gateway.requests if isinstance(r, list))
    assert [vote.vote_id for vote in first] == [vote.vote_id for vote in second] == ["ext/3//spam", "ext/4//ham"]
    assert [vote.confidence for vote in first] == [0.5, 0.0]


def test_a_vote_that_can_t_be_read_is_told_by_its_line(run: Run, gateway: Any, tmp_path: Path) -> None:
    gateway.on("GetLabeler", lambda _: labelers_pb2.Labeler(problem_spec="projects/default/problemSpecs/s"))
    gateway.on("GetProblemSpec", lambda _: problem_spec_pb2.ProblemSpec(dataset="projects/default/datasets/d"))
    (tmp_path / "votes.csv").write_text("row,class\n3,spam\nfour,ham\n")
    code, _, err = run("label", "votes", "ext", str(tmp_path / "votes.csv"))
    assert code == 1
    assert "votes.csv, line 3: row must be a whole number" in err


def test_import_says_what_was_understood(run: Run, gateway: Any, tmp_path: Path) -> None:
    kind = schema_pb2.COLUMN_KIND_TEXT
    schema = schema_pb2.Schema(columns=[schema_pb2.Column(name="text", kind=kind, inferred_because="long values")])
    version = datasets_pb2.DatasetVersion(row_count=10, holdout_count=2, schema=schema, notes=["The encoding is cp1252."])
    seen = schema_pb2.ColumnProfile(column="text", kind=kind, missing=3, distinct=7, warnings=["30% missing"])
    gateway.on(
        "ImportDataset", lambda _: datasets_pb2.Dataset(name="projects/default/datasets/my-file", latest_version=version)
    )
    gateway.on("GetProfile", lambda _: datasets_pb2.Profile(columns=[seen], duplicate_rows=1))
    (tmp_path / "My File.csv").write_text("text\nhello\n")
    code, out, err = run("import", str(tmp_path / "My File.csv"), "--kind", "text=text", "--holdout-column", "split")
    assert code == 0
    for words in ("long values", "30% missing", "2 (20.0%)"):
        assert words in out
    assert "! The encoding is cp1252." in err
    first = gateway.requests[0][0]
    assert (first.dataset_id, first.holdout.split_column) == ("my-file", "split")


def test_an_empty_file_is_told_before_anything_is_sent(run: Run, gateway: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    assert "is empty" in run("import", str(tmp_path / "empty.csv"))[2]
    assert "is a folder" in run("import", str(tmp_path))[2]
    assert "can't be read" in run("import", str(tmp_path / "none.csv"))[2]
    assert gateway.requests == []


def test_try_names_the_nearest_column_before_anything_is_started(run: Run, gateway: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,Label\nx,1\n")
    code, _, err = run("try", str(tmp_path / "a.csv"), "--target", "lable")
    assert code == 1
    assert "There is no column 'lable'. Did you mean 'Label'? The columns are: 'text', 'Label'." in err
    assert gateway.requests == []


def test_training_is_followed_without_a_terminal_line_by_line(run: Run, gateway: Any) -> None:
    selection = runs_pb2.Score(metric="macro_f1", value=0.5, low=0.4, high=0.6)
    epoch = runs_pb2.EpochEvent(
        epoch=1,
        max_epochs=9,
        losses=[runs_pb2.HeadLoss(head="text", training_loss=0.7, selection_loss=0.8)],
        selection=selection,
    )
    baseline = runs_pb2.BaselineScore(name="majority_class", scores=[runs_pb2.Score(metric="macro_f1", value=0.25)])
    matrix = [runs_pb2.ConfusionRow(class_name=name, predicted=[1, 2]) for name in ("a", "b")]
    report = runs_pb2.RunReport(
        selection=selection, holdout=[selection, runs_pb2.Score(metric="roc_auc", value=0.9)], baselines=[baseline],
        confusion_matrix=matrix, notes=["'rating' gives the label away."],
    )  # fmt: skip
    ended = runs_pb2.Run(name="projects/default/runs/r", state=runs_pb2.RUN_STATE_SUCCEEDED, report=report)
    gateway.on("CreateRun", lambda request: runs_pb2.Run(name="projects/default/runs/r", model=request.run.model))
    gateway.on("WatchRun", lambda _: iter([runs_pb2.RunEvent(sequence=1, state=2), runs_pb2.RunEvent(sequence=2, epoch=epoch)]))
    gateway.on("GetRun", lambda _: ended)
    code, out, err = run("train", "reviews/gold", "--design", "text-table", "--express", "--epochs", "9")
    assert code == 0
    assert "epoch 1 of at most 9: text loss 0.700/0.800; macro f1 0.500 (0.400 to 0.600)" in err
    assert "'rating' gives the label away." in err
    for words in ("majority class", "0.250", "0.500 (0.400 to 0.600)", "Also: roc auc 0.900"):
        assert words in out
    submitted = gateway.requests[0].run
    assert submitted.model == "projects/default/models/reviews"
    assert submitted.schedule == designs_pb2.Schedule(design=designs_pb2.Design(template="text-table"), max_epochs=9)
    assert submitted.priority == runs_pb2.PRIORITY_EXPRESS


def test_a_failed_run_ends_with_exit_code_1_and_its_reason(run: Run, gateway: Any) -> None:
    failed = runs_pb2.Run(name="projects/default/runs/r", state=runs_pb2.RUN_STATE_FAILED, problem="There is one class only.")
    gateway.on("CreateRun", lambda _: failed)
    gateway.on("WatchRun", lambda _: iter([]))
    gateway.on("GetRun", lambda _: failed)
    code, _, err = run("train", "reviews/gold")
    assert code == 1
    assert "There is one class only." in err


def test_a_changed_policy_keeps_the_rules_that_are_not_named(run: Run, gateway: Any) -> None:
    kept = policies_pb2.Policy(name="projects/default/policies/m", feedback_count=300, tolerance=0.1, etag="e")
    kept.max_age.FromSeconds(60)
    gateway.on("GetPolicy", lambda _: kept)
    gateway.on("UpdatePolicy", lambda request: request.policy)
    assert run("policy", "update", "m", "--count", "50", "--max-age", "", "--min-interval", "2h", "--promote-on-tie")[0] == 0
    sent = gateway.requests[-1].policy
    assert (sent.feedback_count, sent.tolerance, sent.etag, sent.promote_on_tie) == (50, 0.1, "e", True)
    assert (sent.HasField("max_age"), sent.min_interval.seconds) == (False, 7200)


def test_a_policy_reads_durations_as_people_write_them(run: Run, gateway: Any) -> None:
    gateway.on("CreatePolicy", lambda request: request.policy)
    code, out, _ = run("policy", "create", "m", "--count", "300", "--max-age", "7d", "--min-interval", "1.5h")
    assert code == 0
    policy = gateway.requests[0].policy
    assert (policy.max_age.seconds, policy.min_interval.seconds) == (604800, 5400)
    assert "300 new labels or a label older than 7d" in out
    code, _, err = run("policy", "create", "m", "--max-age", "soon")
    assert (code, "is no duration" in err) == (1, True)


def test_a_regrowth_is_followed_to_its_decision(run: Run, gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regrow.cli.policies.time.sleep", lambda _: None)
    states = iter([policies_pb2.REGROWTH_STATE_TRAINING, policies_pb2.REGROWTH_STATE_REFUSED])
    name = "projects/default/policies/m/regrowths/1"
    gateway.on("TriggerRegrowth", lambda _: policies_pb2.Regrowth(name=name, state=policies_pb2.REGROWTH_STATE_CUTTING))
    gateway.on("GetRegrowth", lambda _: policies_pb2.Regrowth(name=name, state=next(states), decision="It is no better."))
    code, out, err = run("policy", "trigger", "m")
    assert code == 0
    assert err.splitlines() == ["cutting", "training", "refused"]
    assert "It is no better." in out


def test_status_shows_services_models_feedback_and_runs(run: Run, gateway: Any) -> None:
    model = gateway_pb2.LoadedModel(version="projects/default/models/m/versions/2", aliases=["champion"], predictions=12345)
    sick = gateway_pb2.ServiceStatus(service="training", ready=False, problem="does not answer")
    gateway.on("GetStatus", lambda _: gateway_pb2.Status(services=[sick], loaded_models=[model]))
    gateway.on("GetFeedbackStats", lambda request: feedback_ledger_pb2.FeedbackStats(model=request.parent, votes=7))
    waiting = runs_pb2.Run(name="projects/default/runs/r-9", state=runs_pb2.RUN_STATE_QUEUED)
    ended = runs_pb2.Run(name="projects/default/runs/r-8", state=runs_pb2.RUN_STATE_FAILED)
    gateway.on("ListRuns", lambda _: runs_pb2.ListRunsResponse(runs=[waiting, ended]))
    code, out, _ = run("status")
    assert code == 1  # training isn't ready
    for words in ("does not answer", "m/2", "champion", "12,345", "r-9", "queued"):
        assert words in out
    assert "r-8" not in out


def test_login_derives_the_grpc_address_and_stores_nothing_that_fails(run: Run, gateway: Any) -> None:
    before = stored_credentials()
    gateway.on("GetCaller", lambda _: gateway_pb2.Key(name="keys/a", role=gateway_pb2.ROLE_ADMIN))
    code, _, err = run("login", "--url", "http://127.0.0.1:1", "--grpc", gateway.address, "--key", "rg_new")
    assert code == 1
    assert "REST at http://127.0.0.1:1 does not" in err
    assert stored_credentials() == before
    assert run("login", "--url", "nonsense", "--key", "x")[2].startswith("Error: 'nonsense' is no URL")


class Annotation:
    """Rows to label, kept as the ledger would."""

    def __init__(self, gateway: Any, rows: int, refusal: Any) -> None:
        self.answers: dict[int, list[str]] = {}
        self.order: list[int] = []
        self.rows, self.refusal = rows, refusal
        gateway.on("NextRows", self.next_rows)
        gateway.on("SubmitAnnotation", self.submit)
        gateway.on("UndoAnnotation", self.undo)
        gateway.on(
            "GetAnnotationProgress", lambda _: annotation_pb2.AnnotationProgress(rows=rows, answered_rows=len(self.answers))
        )

    def next_rows(self, request: Any) -> Any:
        left = [n for n in range(self.rows) if n not in self.answers][: request.count]
        rows = [datasets_pb2.Row(number=n, values=struct({"text": f"text {n}"})) for n in left]
        return annotation_pb2.NextRowsResponse(rows=[annotation_pb2.RowToLabel(row=row, why="drawn", drawn=1) for row in rows])

    def submit(self, request: Any) -> Any:
        self.answers[request.row] = list(request.class_names)
        self.order.append(request.row)
        return votes_pb2.Vote(row=request.row)

    def undo(self, _: Any) -> Any:
        if not self.order:
            raise self.refusal(grpc.StatusCode.FAILED_PRECONDITION, "There is no answer to take back.")
        row = self.order.pop()
        return votes_pb2.Vote(row=row, class_names=self.answers.pop(row))


def label(gateway: Any, keys: str, task: int = problem_spec_pb2.TASK_SINGLE_LABEL, count: int = 0) -> Session:
    classes = [problem_spec_pb2.ClassDefinition(name=name) for name in ("spam", "ham")]
    spec = problem_spec_pb2.ProblemSpec(
        name="projects/default/problemSpecs/s", dataset="projects/default/datasets/d", task=task, classes=classes
    )
    with Client(gateway.address, "k") as client:
        session = Session(client=client, spec=spec, labeler="projects/default/labelers/l", strategy=1)
        pressed = iter(keys)
        ask(session, lambda: next(pressed, ""), count)
    return session


def test_one_key_answers_a_row_and_all_are_committed(gateway: Any, refusal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Annotation(gateway, 3, refusal)
    label(gateway, "121")
    assert ledger.answers == {0: ["spam"], 1: ["ham"], 2: ["spam"]}
    assert "Every row is answered." in capsys.readouterr().out


def test_undo_brings_the_row_back_and_the_order_stays(gateway: Any, refusal: Any) -> None:
    ledger = Annotation(gateway, 9, refusal)
    label(gateway, "12u1u21q")
    assert ledger.answers == {0: ["spam"], 1: ["ham"], 2: ["spam"]}


def test_undo_with_nothing_to_take_back_says_so_and_goes_on(
    gateway: Any, refusal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Annotation(gateway, 9, refusal)
    label(gateway, "u1q")
    assert ledger.answers == {0: ["spam"]}
    assert "There is no answer to take back." in capsys.readouterr().err


def test_skipped_rows_do_not_come_again(gateway: Any, refusal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Annotation(gateway, 3, refusal)
    label(gateway, "s1s")
    assert ledger.answers == {1: ["spam"]}
    assert "Only skipped rows are left." in capsys.readouterr().out


def test_keys_switch_classes_of_a_multi_label_row(gateway: Any, refusal: Any) -> None:
    ledger = Annotation(gateway, 9, refusal)
    label(gateway, "121\r\r12\rq", problem_spec_pb2.TASK_MULTI_LABEL)
    assert ledger.answers == {0: ["ham"], 1: [], 2: ["spam", "ham"]}


def test_labeling_ends_after_the_count_asked_for(gateway: Any, refusal: Any) -> None:
    ledger = Annotation(gateway, 9, refusal)
    assert label(gateway, "1111", count=2).answered == 2
    assert len(ledger.answers) == 2


def test_there_are_keys_for_many_classes_and_none_twice() -> None:
    assert len(set(asking.KEYS)) == len(asking.KEYS)
    assert not set("qsu") & set(asking.KEYS)


def test_output_into_a_closed_pipe_is_no_traceback(gateway: Any) -> None:
    gateway.on(
        "ListTemplates", lambda _: designs_pb2.ListTemplatesResponse(templates=[designs_pb2.Template(id="x" * 5000)] * 200)
    )
    store_credentials(Credentials(grpc_address=gateway.address, key="rg_secret"))
    command = f"{sys.executable} -m regrow.cli runs designs --json | head -c 10"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_a_spec_can_be_made_of_one_that_was_printed(run: Run, gateway: Any, tmp_path: Path) -> None:
    first = problem_spec_pb2.ProblemSpec(
        name="projects/default/problemSpecs/a", version=1, dataset="projects/default/datasets/d", excluded_columns=["x"],
        classes=[problem_spec_pb2.ClassDefinition(name="good", description="Praise.")], warnings=["few rows"],
    )  # fmt: skip
    gateway.on("GetProblemSpec", lambda _: first)
    gateway.on("CreateProblemSpec", lambda request: request.problem_spec)
    _, printed, _ = run("spec", "show", "a", "--json")
    (tmp_path / "a.json").write_text(printed)
    words = (
        "--from",
        str(tmp_path / "a.json"),
        "-x",
        "y",
        "-c",
        "bad=awful,poor",
        "--cost",
        "[[0, 1], [5, 0]]",
        "--metric",
        "expected-cost",
    )
    assert run("spec", "create", "b", *words)[0] == 0
    sent = gateway.requests[-1].problem_spec
    assert (sent.name, sent.version, list(sent.warnings)) == ("", 0, [])
    assert (sent.dataset, list(sent.excluded_columns)) == ("projects/default/datasets/d", ["x", "y"])
    assert [(c.name, c.description, list(c.source_values)) for c in sent.classes] == [
        ("good", "Praise.", []),
        ("bad", "", ["awful", "poor"]),
    ]
    assert [list(row.costs) for row in sent.cost_matrix] == [[0, 1], [5, 0]]
    assert sent.metric == problem_spec_pb2.METRIC_EXPECTED_COST


def test_a_file_that_can_t_be_written_is_no_traceback(run: Run, gateway: Any) -> None:
    gateway.on("Predict", lambda _: gateway_pb2.PredictResponse(predictions=[gateway_pb2.Prediction()]))
    code, _, err = run("predict", "m", "a=1", "-o", "/nowhere/out.csv")
    assert (code, err) == (1, "Error: /nowhere/out.csv: No such file or directory.\n")


def scored(state: int = batch_predictions_pb2.BATCH_PREDICTION_STATE_SUCCEEDED, **fields: Any) -> Any:
    return batch_predictions_pb2.BatchPrediction(
        name="projects/default/batchPredictions/b1", dataset_version="projects/default/datasets/reviews/versions/2",
        model="projects/default/models/buy", version="projects/default/models/buy/versions/3", state=state,
        row_count=1200, rows_done=fields.pop("rows_done", 1200), **fields,
    )  # fmt: skip


def test_a_data_set_is_scored_and_its_result_written(run: Run, gateway: Any, tmp_path: Path) -> None:
    states = iter([
        scored(batch_predictions_pb2.BATCH_PREDICTION_STATE_RUNNING, rows_done=300, rows_per_second=100.0),
        scored(class_counts=[batch_predictions_pb2.ClassCount(class_name="yes", rows=1199)], notes=["No column 'age'."]),
    ])  # fmt: skip
    gateway.on("CreateBatchPrediction", lambda _: scored(batch_predictions_pb2.BATCH_PREDICTION_STATE_QUEUED, rows_done=0))
    gateway.on("GetBatchPrediction", lambda _: next(states))
    gateway.on("DownloadBatchPrediction", lambda _: iter([HttpBody(data=b"row,predicted\n"), HttpBody(data=b"0,yes\n")]))
    file = tmp_path / "scores.csv"
    code, out, err = run("batch", "create", "reviews", "buy@best", "--rows", "unlabeled", "-o", str(file))
    assert code == 0, err
    asked = gateway.requests[0].batch_prediction
    assert asked.dataset_version == "projects/default/datasets/reviews/versions/latest"
    assert asked.model == "projects/default/models/buy/aliases/best"
    assert asked.row_filter == batch_predictions_pb2.ROW_FILTER_UNLABELED
    assert gateway.requests[0].request_id
    assert file.read_text() == "row,predicted\n0,yes\n"
    assert "1,199" in out and "No column 'age'." in err


def test_a_batch_prediction_that_failed_ends_with_what_to_do(run: Run, gateway: Any) -> None:
    failed = scored(batch_predictions_pb2.BATCH_PREDICTION_STATE_FAILED, problem="The process was killed.", rows_done=5)
    gateway.on("CreateBatchPrediction", lambda _: failed)
    gateway.on("GetBatchPrediction", lambda _: failed)
    code, _, err = run("batch", "create", "reviews", "buy/3")
    assert (code, "The process was killed." in err) == (1, True)
    assert run("batch", "create", "reviews", "buy", "-o", "scores.xlsx")[0] == 1


def test_a_batch_prediction_that_waits_for_an_engine_says_so_once_and_when_it_goes_on(run: Run, gateway: Any) -> None:
    running = batch_predictions_pb2.BATCH_PREDICTION_STATE_RUNNING
    waits = scored(running, rows_done=300, waiting_for="the object store")
    states = iter([waits, waits, scored(running, rows_done=300), scored()])
    gateway.on("GetBatchPrediction", lambda _: next(states))
    err = run("batch", "get", "b1", "--watch")[2]
    assert (err.count("It waits for the object store."), err.count("It goes on.")) == (1, 1)
    gateway.on("GetBatchPrediction", lambda _: waits)
    assert "300 of 1,200 rows; waits for the object store" in run("batch", "get", "b1")[1]


def test_batch_predictions_are_listed_shown_and_cancelled(run: Run, gateway: Any) -> None:
    running = scored(batch_predictions_pb2.BATCH_PREDICTION_STATE_RUNNING, rows_done=300, rows_per_second=100.0)
    running.time_left.FromSeconds(9)
    listed = batch_predictions_pb2.ListBatchPredictionsResponse(batch_predictions=[running])
    gateway.on("ListBatchPredictions", lambda _: listed)
    gateway.on("GetBatchPrediction", lambda _: running)
    gateway.on("CancelBatchPrediction", lambda _: running)
    assert "25.0%" in run("batch", "list")[1]
    assert "300 of 1,200 rows, 100 a second, 9 s left" in run("batch", "get", "b1")[1]
    assert "being cancelled" in run("batch", "cancel", "b1")[2]
