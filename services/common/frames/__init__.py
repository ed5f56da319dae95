"""Tables: reading files of unknown make, typed Parquet in the object store, holdout, profile and export.

For the services that own or read data sets (labeling, training). Needs pyarrow and pandas; the gateway imports nothing here.
"""
