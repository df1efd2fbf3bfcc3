"""ARP in the host's place."""

from __future__ import annotations

from spec.counters import Counter
from verif.model import ToHost, ToWire
from verif.unit.model.support import nic

REQUEST = bytes.fromhex(
    "ffffffffffff 020000000001 0806 0001 0800 06 04 0001020000000001 0a630001 000000000000 0a630002"
)


def test_rfc826_answer_while_the_os_is_down() -> None:
    model = nic()
    for request in (REQUEST, REQUEST.ljust(60, b"\0"), bytes.fromhex("020000000002") + REQUEST[6:]):
        assert model.wire_receive(request) == [
            ToWire(
                bytes.fromhex(
                    "020000000001 020000000002 0806 0001 0800 06 04 0002"
                    "020000000002 0a630002 020000000001 0a630001" + "00" * 18
                )
            )
        ]
        assert model.verdict is Counter.DELIVERED


def test_the_os_answers_itself_once_it_is_up() -> None:
    model = nic()
    model.bus_write("HEARTBEAT", 0x48425421)
    assert model.wire_receive(REQUEST) == [ToHost(REQUEST)]
    assert model.verdict is Counter.PASSED


def test_all_other_arp_passes() -> None:
    model = nic()
    other = [
        REQUEST[:41],
        bytes.fromhex("020000000003") + REQUEST[6:],
        *(
            REQUEST[:place] + bytes([REQUEST[place] ^ 2]) + REQUEST[place + 1 :]
            for place in (*range(14, 22), *range(38, 42))
        ),
    ]
    for frame in other:
        assert model.wire_receive(frame) == [ToHost(frame)]
    model.bus_write("HOST_IP", 0)
    anyone = REQUEST[:38] + bytes(4)
    assert model.wire_receive(anyone) == [ToHost(anyone)]
