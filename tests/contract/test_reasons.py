"""The protos tell the reasons that clients branch on: each one that the code gives is named where it is promised."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.labeling.feedback.rules import Reason

LABELING = Path(__file__).parents[2] / "protos" / "regrow" / "labeling" / "v1"


def comment(proto: str, before: str) -> str:
    """What is written right above a line."""
    lines = (LABELING / proto).read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if line.strip().startswith(before))
    begin = end
    while lines[begin - 1].strip().startswith("//"):
        begin -= 1
    return "\n".join(lines[begin:end])


def test_every_reason_why_feedback_is_unmatched_is_told():
    told = comment("feedback_ledger.proto", "string reason = 5")
    assert all(f"`{reason}`" in told for reason in Reason)


@pytest.mark.parametrize(
    ("proto", "call", "reason", "where"),
    [
        ("feedback_ledger.proto", "rpc CutLabelSet(", "NOT_APPLIED_YET", "feedback/cuts.py"),
        ("feedback_ledger.proto", "rpc CutLabelSet(", "NO_FEEDBACK", "feedback/cuts.py"),
        ("feedback_ledger.proto", "rpc CutLabelSet(", "CUT_BEHIND", "feedback/cuts.py"),
        ("annotation.proto", "rpc UndoAnnotation(", "NOTHING_TO_UNDO", "annotation/handlers.py"),
    ],
)
def test_a_call_tells_the_reasons_of_its_refusals(proto, call, reason, where):
    source = LABELING.parents[3] / "services" / "labeling" / where
    assert f'reason="{reason}"' in source.read_text(), "given no more: take it out of the proto"
    assert f"`{reason}`" in comment(proto, call)
