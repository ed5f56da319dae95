"""Labelers: anything that votes on a row or abstains. Programs vote over batches, others through the ledger."""
