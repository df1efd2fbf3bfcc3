"""Proofs about the gateware: `python -m verif.formal`, or `make formal`. See docs/formal.md."""
