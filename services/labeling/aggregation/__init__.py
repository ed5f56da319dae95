"""Votes to probabilities: majority, soft majority, and the label model of Dawid and Skene.

Plain numpy over sparse votes; no storage, no protos. `choice.aggregate` is the door: it picks the method, falls back where a
model fails, and tells why. Nothing here ever sees a holdout row.
"""
