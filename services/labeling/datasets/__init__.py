"""Data sets: import, versions, rows, profile and export.

`handlers.Datasets` is what the other parts of labeling use: `version`, `load_rows`, `read_rows`, `append_rows`.
"""
