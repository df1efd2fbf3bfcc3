"""Layer 2: frame buffers, arbitration, MACs."""
