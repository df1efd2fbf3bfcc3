"""Unit tests of the cipher cores' software models and parameter checks."""
