"""What Prometheus hears of predictions. No label names a model: who makes models would choose how many series there are."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from services.common.metering import ENGINE_BUCKETS

MODEL_SECONDS = Histogram(
    "regrow_model_seconds",
    "How long a model computed for one call.",
    buckets=(0.0001, 0.00025, *ENGINE_BUCKETS),
)
ROWS = Counter("regrow_predicted_rows", "Rows that were answered.")
QUEUE = Gauge("regrow_predict_queue_calls", "Predict calls that compute or wait for a thread.")
LOADED = Gauge("regrow_models_loaded", "Versions in memory.")
SWAPS = Counter("regrow_model_swaps", "Versions that were to be brought behind an alias, by what came of it.", ["outcome"])
for _outcome in ("swapped", "failed"):
    SWAPS.labels(_outcome)
LOAD_SECONDS = Histogram(
    "regrow_model_load_seconds",
    "How long it took to fetch, open and try a version.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
