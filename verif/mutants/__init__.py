"""Mutation of the gateware: small faults by Yosys' `mutate`, and which of them the tests catch.

`python -m verif.mutants --help` tells how to run it; docs/mutants.md what it does, and its results.
"""
