"""Turns raw rows into labels: data sets, specs, labelers, votes, label sets, human labels, feedback."""
