"""Builds the frames that the NIC sends itself: ARP answers, clear and protected RMCP messages."""

from hw.net.reply.builder import FRAME_OCTETS_MAX, ReplyBuilder

__all__ = ["FRAME_OCTETS_MAX", "ReplyBuilder"]
