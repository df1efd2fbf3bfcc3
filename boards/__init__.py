"""The boards: one folder each, pins and clocks only. `virtual` is a board like the others."""
