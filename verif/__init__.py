"""Verification: reference model, benches, proofs and co-simulation."""
