"""Batch predictions: the rows of a data set version, scored chunk by chunk in a process of its own, to Parquet."""
