"""What Prometheus hears of predictions. No label names a model: who makes models would choose how many series there are."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from services.common.metering import ENGINE_BUCKETS

MODEL_SECONDS = Histogram(
    "regrow_model_seconds",
    "How long a model computed for one call, or for several together.",
    buckets=(0.0001, 0.00025, *ENGINE_BUCKETS),
)
ROWS = Counter("regrow_predicted_rows", "Rows that were answered.")
QUEUE = Gauge("regrow_predict_queue_calls", "Predict calls that compute or wait for a thread.")
BATCH_ROWS = Histogram(
    "regrow_model_batch_rows",
    "Rows that were computed together.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 1024, 10_000),
)
REFUSED = Counter("regrow_predict_refused_calls", "Predict calls that weren't computed, by why.", ["why"])
BUSY, LATE, GONE = (REFUSED.labels(why) for why in ("busy", "deadline", "gone"))
RESIDENT = Gauge("regrow_models_resident_bytes", "Memory that versions take; what they share counts once.")
BUDGET = Gauge("regrow_models_memory_budget_bytes", "Memory that versions may take.")
EVICTIONS = Counter("regrow_model_evictions", "Versions that left memory to make room for others.")
LOADED = Gauge("regrow_models_loaded", "Versions in memory.")
SWAPS = Counter("regrow_model_swaps", "Versions that were to be brought behind an alias, by what came of it.", ["outcome"])
for _outcome in ("swapped", "failed"):
    SWAPS.labels(_outcome)
LOAD_SECONDS = Histogram(
    "regrow_model_load_seconds",
    "How long it took to fetch, open and try a version.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
