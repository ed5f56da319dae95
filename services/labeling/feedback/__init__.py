"""Feedback from production: joined with its prediction, voted with, cut for a regrowth.

`app.py` starts it so:

    feedback = FeedbackConsumer(engines.events, engines.database, keep_predictions=timedelta(days=settings.prediction_days))
    Part(service=feedback_api.LEDGER_SERVICE, add=..., servicer=FeedbackLedgerServicer(...), start=feedback.start,
         stop=feedback.stop)

and gives `handlers.forget_dataset` to `Datasets(forget=[...])`.
"""
