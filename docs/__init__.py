"""The adapter from `spec` to documents: reference pages that are made, and not committed."""
