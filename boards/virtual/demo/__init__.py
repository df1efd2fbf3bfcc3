"""The demo: the seed's state table, rows 2 to 9, played on the virtual board.

A station, an attacker and a managed host behind the verilated NIC, each real processes in a network
namespace of its own; the host's OS in a PID namespace too, so that the NIC's reset pin kills and
restarts it. docs/virtual_board.md describes it.
"""
