"""What can be set of the gateway, beside what all services share."""

from __future__ import annotations

from pathlib import Path

from pydantic import ByteSize, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.common.settings import CommonSettings, kept_secret
from services.gateway.inference.memory import sensible_budget


def _pepper(data_dir: Path) -> SecretStr:
    return SecretStr(kept_secret(data_dir, "keys.pepper", variable="REGROW_GATEWAY_KEY_PEPPER"))


class GatewaySettings(CommonSettings):
    """Read from `REGROW_GATEWAY_*`, the common ones from `REGROW_*`."""

    model_config = SettingsConfigDict(env_prefix="REGROW_GATEWAY_")

    key_pepper: SecretStr = Field(default_factory=lambda known: _pepper(known["data_dir"]), min_length=16)
    """Secret under which API keys are hashed, 16 characters or more; gateways with one database need the same, and it must not
    change: all keys end with it. Unset: one is made and kept in the data folder."""

    oidc_issuers: str = ""
    """OpenID Connect issuers whose bearer tokens are taken beside API keys, by URL with commas between; https, but for this
    machine. Unset: only keys are taken."""

    oidc_audience: str = ""
    """The audience that a token must be for."""

    oidc_grants: str = ""
    """Which group has which role, in all projects or some: `ml-admins=admin; shop-team=editor:shop,bank`."""

    oidc_groups_claim: str = "groups"
    """The claim that lists a caller's groups; dots reach into objects (`realm_access.roles`)."""

    oidc_jwks_url: str = ""
    """Where the issuer's public keys are. Unset: its discovery document says it."""

    oidc_algorithms: str = "RS256,ES256"
    """Signature algorithms that are taken, with commas between; `none` and HS never are."""

    oidc_leeway_seconds: int = Field(default=30, ge=0, le=300)
    """How far the clocks of issuer and gateway may be apart."""

    calls_per_second: float = Field(default=0.0, ge=0)
    """How often a key may call where it has no limit of its own, in each gateway; 0 is no limit."""

    calls_burst: int = Field(default=0, ge=0)
    """How many of its calls may come at once; 0 is as many as one second has."""

    rows_per_day: int = Field(default=0, ge=0)
    """How many rows a key may have predicted in a day (UTC) where it has no limit of its own; 0 is no limit."""

    feedback_per_day: int = Field(default=0, ge=0)
    """How many pieces of feedback it may send in a day; 0 is no limit."""

    audit_days: int = Field(default=400, ge=1)
    """How long audit events are kept; the topic `regrow.audit` has a retention of its own."""

    public_metrics: bool = True
    """Whether the REST port answers `/metrics`, which needs no key. `metrics_port` serves the same to Prometheus alone."""

    max_body_bytes: int = Field(default=16 << 20, ge=1 << 10)
    """The largest JSON body. Uploads have `max_upload_bytes`."""

    max_upload_bytes: int = Field(default=64 << 30, ge=1 << 10)
    """The largest file that passes through on its way to labeling, which has a limit of its own."""

    predict_threads: int = Field(default=2, ge=1, le=64)
    """Predictions that run at once, off the event loop."""

    predict_backlog: int = Field(default=1_000, ge=1)
    """Predict calls that may wait for one model version; one more is refused as busy, with a time to come back."""

    model_concurrency: int = Field(default=2, ge=1, le=64)
    """Batches of one model version that are computed at once, of the `predict_threads` that all share."""

    batch_rows: int = Field(default=64, ge=1, le=10_000)
    """The most rows of several calls that are computed together, where measuring a version says that it pays; 1: never."""

    memory_budget_bytes: ByteSize = Field(default_factory=lambda: ByteSize(sensible_budget()), ge=16 << 20)
    """Memory that loaded versions may take, such as 2GiB: beyond it the one that was called longest ago is put to sleep until
    the next call for it. Unset: half of the machine's memory, or of the container's."""

    loaded_versions: int = Field(default=4, ge=1)
    """Versions without an alias that stay loaded after a call by number, within the memory budget; the least recently used goes
    first."""

    load_wait_seconds: float = Field(default=5.0, ge=0)
    """How long a call waits for a version that is loading, before UNAVAILABLE with a time to come back."""

    relist_seconds: float = Field(default=30.0, gt=0)
    """How often all aliases are listed anew, for the case that an event was missed."""

    prediction_log_rows: int = Field(default=20_000, ge=1)
    """Predictions that wait in memory for the event log. Beyond it they are answered, counted, and not logged."""

    feedback_backlog: int = Field(default=20_000, ge=1)
    """Feedback events that wait in memory for the event log; beyond it, RESOURCE_EXHAUSTED with a time to come back."""

    feedback_wait_seconds: float = Field(default=5.0, gt=0)
    """How long feedback waits for an event log that is down, before UNAVAILABLE with a time to come back."""

    feedback_from_log: bool = True
    """Whether feedback is read that third parties write to topic `regrow.feedback.in`. Who may write there, the log decides."""

    operations_at_once: int = Field(default=8, ge=1, le=1_000)
    """Long-running operations that run at once; the others wait in the order of their arrival."""

    operation_backlog: int = Field(default=1_000, ge=1)
    """Operations that may wait or run; one more is refused as busy."""

    operation_days: float = Field(default=7.0, gt=0)
    """How long an operation that ended is kept, with its answer."""
