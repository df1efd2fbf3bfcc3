"""The facts both sides share: headers, suites, RMCP, SA layout, registers. Standard library only.

Gateware, software, the reference model and the documents each derive what they need from here
through an adapter of their own. A wrong fact here passes every check that is derived from it,
so the oracles of the tests (RFC and NIST vectors, recorded frames, scapy) never import it.
"""
