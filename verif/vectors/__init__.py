"""Recorded and published vectors, each with its provenance in README.md, and their readers."""
