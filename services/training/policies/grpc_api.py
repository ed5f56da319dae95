"""The gRPC edge of policies."""

from __future__ import annotations

from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration

from regrow.labeling.v1.feedback_ledger_pb2 import PartitionOffset
from regrow.training.v1 import policies_pb2 as pb
from regrow.training.v1 import policies_pb2_grpc as rpc
from services.common.durations import span
from services.common.idempotency import fingerprint
from services.common.listing import asked
from services.common.masks import merge, paths
from services.training.policies.handlers import Policies
from services.training.policies.rules import DEFAULT_ALIAS, DEFAULT_SIGNIFICANCE, Policy, Regrowth, Rules, State
from services.training.runs.messages import moment

_Context = grpc.ServicerContext
_STATES = {
    State.CUTTING: pb.REGROWTH_STATE_CUTTING,
    State.TRAINING: pb.REGROWTH_STATE_TRAINING,
    State.COMPARING: pb.REGROWTH_STATE_COMPARING,
    State.PROMOTED: pb.REGROWTH_STATE_PROMOTED,
    State.REFUSED: pb.REGROWTH_STATE_REFUSED,
    State.FAILED: pb.REGROWTH_STATE_FAILED,
}
_COMPARED = (
    "metric", "champion", "challenger", "difference", "low", "high", "p_value", "rows", "champion_only_right",
    "challenger_only_right",
)  # fmt: skip


class PolicyApi(rpc.PolicyServiceServicer):
    """regrow.training.v1.PolicyService."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def CreatePolicy(self, request: pb.CreatePolicyRequest, context: _Context) -> pb.Policy:
        """See the proto."""
        return _policy(
            self._policies.create(
                request.parent, request.policy_id, request.policy.model, _rules(request.policy),
                request_id=request.request_id, fingerprint=fingerprint(request),
            )
        )  # fmt: skip

    def UpdatePolicy(self, request: pb.UpdatePolicyRequest, context: _Context) -> pb.Policy:
        """See the proto."""
        policy = request.policy
        named = paths(request.update_mask, policy, fixed=_FIXED)

        def changed(current: Policy) -> Rules:
            merged = _policy(current)
            merge(policy, merged, named)
            return _rules(merged)

        return _policy(self._policies.update(policy.name, policy.model, changed, policy.etag))

    def GetPolicy(self, request: pb.GetPolicyRequest, context: _Context) -> pb.Policy:
        """See the proto."""
        return _policy(self._policies.get(request.name))

    def ListPolicies(self, request: pb.ListPoliciesRequest, context: _Context) -> pb.ListPoliciesResponse:
        """See the proto."""
        policies, token = self._policies.list_policies(request.parent, asked(request))
        return pb.ListPoliciesResponse(policies=map(_policy, policies), next_page_token=token)

    def TriggerRegrowth(self, request: pb.TriggerRegrowthRequest, context: _Context) -> pb.Regrowth:
        """See the proto."""
        return _regrowth(self._policies.trigger(request.name, request_id=request.request_id, fingerprint=fingerprint(request)))

    def GetRegrowth(self, request: pb.GetRegrowthRequest, context: _Context) -> pb.Regrowth:
        """See the proto."""
        return _regrowth(self._policies.get_regrowth(request.name))

    def ListRegrowths(self, request: pb.ListRegrowthsRequest, context: _Context) -> pb.ListRegrowthsResponse:
        """See the proto."""
        regrowths, token = self._policies.list_regrowths(request.parent, asked(request))
        return pb.ListRegrowthsResponse(regrowths=map(_regrowth, regrowths), next_page_token=token)


_FIXED = frozenset({"name", "model", "pending_feedback", "create_time", "etag"})
"""What an update of a policy may carry but can't change."""


def _rules(policy: pb.Policy) -> Rules:
    return Rules(
        alias=policy.alias or DEFAULT_ALIAS,
        feedback_count=policy.feedback_count,
        max_age_seconds=span(policy.max_age, "policy.max_age").total_seconds(),
        min_interval_seconds=span(policy.min_interval, "policy.min_interval").total_seconds(),
        tolerance=policy.tolerance,
        significance=policy.significance or DEFAULT_SIGNIFICANCE,
        promote_on_tie=policy.promote_on_tie,
        paused=policy.paused,
    )


def _policy(policy: Policy) -> pb.Policy:
    rules = policy.rules
    return pb.Policy(
        name=policy.name, model=policy.model, alias=rules.alias, feedback_count=rules.feedback_count,
        max_age=_duration(rules.max_age_seconds), min_interval=_duration(rules.min_interval_seconds),
        tolerance=rules.tolerance, significance=rules.significance, promote_on_tie=rules.promote_on_tie, paused=rules.paused,
        pending_feedback=policy.pending, create_time=moment(policy.created), etag=policy.etag,
    )  # fmt: skip


def _regrowth(regrowth: Regrowth) -> pb.Regrowth:
    compared = {key: regrowth.comparison[key] for key in _COMPARED if key in regrowth.comparison}
    cut = [
        PartitionOffset(topic=key.rsplit("/", 1)[0], partition=int(key.rsplit("/", 1)[1]), offset=offset)
        for key, offset in sorted(regrowth.cut.items())
    ]
    return pb.Regrowth(
        name=regrowth.name, trigger=regrowth.trigger, state=_STATES[regrowth.state], cut=cut, label_set=regrowth.label_set,
        feedback_votes=regrowth.feedback_votes, run=regrowth.run, champion=regrowth.champion, challenger=regrowth.challenger,
        comparison=pb.Comparison(**compared) if compared else None, decision=regrowth.decision,
        create_time=moment(regrowth.created), end_time=moment(regrowth.ended),
    )  # fmt: skip


def _duration(seconds: float) -> Duration | None:
    if not seconds:
        return None
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made
