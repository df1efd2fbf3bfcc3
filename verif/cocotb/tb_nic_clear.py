"""Bench of the whole NIC: the clear port, over its setting, the host's state and the message."""

from typing import Any

import cocotb

from spec.counters import Counter
from spec.host import HEARTBEAT_MAGIC, HEARTBEAT_STOP
from verif.cocotb import nic_frames as nf
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import NicPair

NOTHING, DISCOVERY, EVERYTHING, RESERVED = range(4)
UNHEARD = 1 << 8
AFTER_S = 2
CLEAR_OFF, LOCKED = 2, 4
ZEROISE = 0x82
BODY = bytes.fromhex("000011be 01 0000 0000 0000")
LATE_MS = 40
"""What a frame and its answer take of these fast milliseconds, and more."""


def messages(number: int) -> list[tuple[str, bytes]]:
    """Messages of each sort, with a sequence and a tag that none had before."""
    own: dict[str, Any] = {"sequence": number % 255, "tag": number // 255}
    return [
        ("discovery", nf.asf(nf.PING, **own)),
        ("discovery", nf.asf(nf.CAPABILITIES, **own)),
        ("state", nf.asf(nf.SYSTEM_STATE, **own)),
        ("power", nf.asf(nf.RESET, **own)),
        ("options", nf.asf(nf.RESET, body=BODY, sequence=254, tag=254)),
        ("never", nf.oem(nf.SA_STATUS, **own)),
        ("never", nf.oem(ZEROISE, **own)),
        ("never", nf.commit(0x12345678, **own)),
        ("unknown", nf.asf(0x14, **own)),
        ("malformed", nf.asf(nf.PING, body=b"\0", **own)),
    ]


class Asker:
    """Somebody on the network who holds no SA."""

    def __init__(self, pair: NicPair) -> None:
        self.pair = pair
        self.number = 0

    async def meets(self, setting: int, *, is_open: bool) -> None:
        """Each message ends as the setting says; nothing but an open EVERYTHING moves a pin."""
        pair = self.pair
        self.number += 1
        for sort, message in messages(self.number):
            wanted = {
                "unknown": Counter.DROP_RMCP_UNKNOWN,
                "malformed": Counter.DROP_RMCP_MALFORMED,
            }.get(sort, Counter.DROP_CLEAR_POLICY)
            if setting == EVERYTHING:
                if sort in ("discovery", "state", "power"):
                    wanted = Counter.DELIVERED
                elif sort == "options":
                    wanted = Counter.DROP_RMCP_ROLE
            elif setting == DISCOVERY and sort == "discovery":
                wanted = Counter.DELIVERED
            if not is_open or setting not in (DISCOVERY, EVERYTHING):
                wanted = Counter.DROP_CLEAR_POLICY
            answers = await pair.wire(nf.clear(message), wanted)
            assert bool(answers) == (wanted is Counter.DELIVERED)
            for answer in answers:
                assert answer[34:38] == (623).to_bytes(2, "big") + nf.clear(b"")[34:36]
            moves = sort == "power" and wanted is Counter.DELIVERED
            if moves:
                assert await pair.pulses() == ["reset"]
        pair.no_pin_moved()
        for name in ("BOOT_COMMAND", "POLICY", "SA_STATUS"):
            await pair.read(name)


@cocotb.test()
@cocotb.parametrize(setting=[NOTHING, DISCOVERY, EVERYTHING, RESERVED])
async def by_setting_state_and_message(dut: Any, setting: int) -> None:
    """In cold boot; with an SA; unheard for a time; heard again; with an OS."""
    pair = NicPair(dut)
    await pair.start()
    asker = Asker(pair)
    if setting != DISCOVERY:  # which is what there is from power-on
        await pair.write("CLEAR_PORT", setting)
    assert await pair.read("CLEAR_PORT") == setting
    await asker.meets(setting, is_open=True)
    await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
    await asker.meets(setting, is_open=False)
    await pair.write("HEARTBEAT", HEARTBEAT_STOP)
    station = Station(SaKeys.draw(pair.rng))
    await pair.stage(station.sa)
    await pair.works(station)
    await asker.meets(setting, is_open=False)
    await pair.pass_ms(1000 * AFTER_S)
    await asker.meets(setting, is_open=False)  # only cold boot counts
    await pair.write("CLEAR_PORT", setting | UNHEARD)
    await asker.meets(setting, is_open=False)  # zero: never
    await pair.write("CLEAR_PORT", setting | UNHEARD | AFTER_S << 16)
    await asker.meets(setting, is_open=True)
    await pair.works(station)
    await pair.pass_ms(1000 * AFTER_S - LATE_MS - 400)
    ping = nf.clear(nf.asf(nf.PING))
    await pair.wire(ping, Counter.DROP_CLEAR_POLICY)
    spoilt = bytearray(station.protect(nf.asf(nf.PING)))
    spoilt[-1] ^= 1
    await pair.wire(bytes(spoilt), Counter.DROP_ICV)  # nobody's word
    await pair.pass_ms(400 + 2 * LATE_MS)
    await asker.meets(setting, is_open=True)
    await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
    await asker.meets(setting, is_open=False)
    await pair.write("HEARTBEAT", HEARTBEAT_STOP)
    await pair.write("POLICY", CLEAR_OFF)
    await asker.meets(setting, is_open=False)
    await pair.zeroise()
    assert await pair.read("CLEAR_PORT") == DISCOVERY
    await asker.meets(DISCOVERY, is_open=True)
    await pair.finish()


@cocotb.test()
async def locked_settings(dut: Any) -> None:
    """Once locked nothing on the bus loosens the port, or takes the NIC its addresses."""
    pair = NicPair(dut)
    await pair.start()
    await pair.write("CLEAR_PORT", DISCOVERY)
    await pair.write("POLICY", LOCKED)
    station = Station(SaKeys.draw(pair.rng))
    await pair.stage(station.sa)
    await pair.works(station)
    names = [("CLEAR_PORT", 0), ("HOST_MAC_HI", 0), ("HOST_MAC_LO", 0), ("HOST_IP", 0)]
    names += [("ENTERPRISE", 0), *(("HOST_IP6", n) for n in range(4))]
    for name, index in names:
        before = await pair.read(name, index)
        for value in (0, 0xFFFFFFFF, EVERYTHING, pair.rng.getrandbits(32)):
            await pair.write(name, value, index)
            await pair.write("POLICY", 0)
            assert await pair.read(name, index) == before
    asker = Asker(pair)
    await asker.meets(DISCOVERY, is_open=False)
    await pair.works(station)
    await pair.inputs(reset=True)
    await pair.inputs(reset=False)
    await pair.write("CLEAR_PORT", EVERYTHING)
    assert await pair.read("CLEAR_PORT") == DISCOVERY
    await pair.zeroise()
    await pair.write("CLEAR_PORT", EVERYTHING)
    assert await pair.read("CLEAR_PORT") == EVERYTHING
    await pair.finish()


@cocotb.test()
async def numbers_in_clear_are_not_a_stations(dut: Any) -> None:
    """A command in clear acts once for its pair, and uses up no pair of a station."""
    pair = NicPair(dut)
    await pair.start()
    await pair.write("CLEAR_PORT", EVERYTHING)
    command = nf.asf(nf.RESET, sequence=9, tag=4)
    for acts in (True, False):
        (answer,) = await pair.wire(nf.clear(command), Counter.DELIVERED)
        assert answer[42:46] == nf.ack(9)
        assert await pair.pulses() == (["reset"] if acts else [])
    station = Station(SaKeys.draw(pair.rng))
    await pair.stage(station.sa)
    for acts in (True, False):
        (answer,) = await pair.wire(station.protect(command), Counter.DELIVERED)
        assert station.open(answer) == nf.ack(9)
        assert await pair.pulses() == (["reset"] if acts else [])
    await pair.finish()
