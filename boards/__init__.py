"""The boards: one folder each, pins and clocks only. `virtual` is a board like the others.

`colorlight` is no board, but what those of that maker share.
"""
