"""Runs: a schedule submitted, queued, trained in a process of its own, and registered."""
