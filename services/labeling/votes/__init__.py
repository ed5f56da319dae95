"""The ledger of votes: append-only, so that any label set can be made again from a position in it."""
