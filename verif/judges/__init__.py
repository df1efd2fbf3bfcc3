"""Judges of what the NIC sends, each of other people's making or of the RFC's text alone.

- `tshark`: Wireshark's dissectors.
- `by_scapy`: scapy's IPsec.
- `gmac`: AES-GMAC of RFC 4543, from its text.

None of them knows `spec`, the model or `sw`.
"""
