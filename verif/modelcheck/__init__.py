"""Model checking of the commit: every order of events between the real station, agent and NIC.

`python -m verif.modelcheck --help` tells how to run it; docs/model_check.md what it covers.
"""
