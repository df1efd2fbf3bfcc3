"""Tests of verif.modelcheck."""
