"""Predictions in this process: which version an alias means, its bundle in memory, the answer, and the record of it."""
