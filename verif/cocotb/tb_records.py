"""Bench of the senders' records."""

from typing import Any

import cocotb

from verif.cocotb.drivers import Bench

ASKER_TOKEN = 31
OCTETS = 32
HELD = 5


async def strobe(bench: Bench, **values: int) -> None:
    """Sets inputs for one cycle."""
    for name, value in values.items():
        getattr(bench.dut, name).value = value
    await bench.cycles()
    for name in values:
        getattr(bench.dut, name).value = 0


async def write(bench: Bench, record: bytes) -> int:
    """A frame's record, as the parser writes it; returns its number."""
    for offset, octet in enumerate(record):
        await strobe(bench, write_stb=1, write_offset=offset, write_data=octet)
    await bench.settled()
    token = int(bench.dut.token.value)
    await bench.cycles()
    return token


async def read(bench: Bench, token: int, inner: int, octets: int) -> bytes:
    """Part of a record."""
    result = bytearray()
    for offset in range(octets):
        bench.dut.read_token.value = token
        bench.dut.read_inner.value = inner
        bench.dut.read_offset.value = offset
        await bench.cycles(2)
        await bench.settled()
        result.append(int(bench.dut.read_data.value))
        await bench.cycles()
    return bytes(result)


@cocotb.test()
async def keeps_what_was_sent(dut: Any) -> None:
    """Refused packets pass in any number; kept ones stay, with what was inside."""
    bench = Bench(dut)
    rng = bench.rng
    for name in ("write_stb", "taken", "asked", "keep", "inner_stb", "held"):
        getattr(dut, name).value = 0
    await bench.reset()
    kept: dict[int, tuple[bytes, bytes]] = {}
    asker = bytes(OCTETS)
    for number in range(120):
        record, inner = rng.randbytes(OCTETS), rng.randbytes(18)
        token = await write(bench, record)
        kind = rng.choice(("pass", "refuse", "keep", "keep", "asked"))
        if kind == "pass":
            continue
        await strobe(bench, **{"asked" if kind == "asked" else "taken": 1})
        if kind == "asked":
            asker = record
            await bench.cycles(40)
        if kind == "keep":
            await bench.until(dut.keep_ready)
            new = int(dut.kept.value)
            await bench.cycles()
            await strobe(bench, keep=1, keep_token=token)
            for offset, octet in enumerate(inner):  # while the copy is under way
                await strobe(
                    bench, inner_stb=1, inner_token=new, inner_offset=offset, inner_data=octet
                )
                await bench.cycles(rng.randrange(2))
            await bench.until(dut.keep_ready)
            await bench.cycles()
            kept[new] = record, inner
        if number % 10 == 9:
            assert kept
            for old, (outer, inside) in kept.items():
                assert await read(bench, old, 0, OCTETS) == outer, old
                assert await read(bench, old, 1, len(inside)) == inside, old
            assert await read(bench, ASKER_TOKEN, 0, OCTETS) == asker
    assert len(kept) == ASKER_TOKEN
    await bench.finish()


@cocotb.test()
async def goes_past_what_is_held(dut: Any) -> None:
    """Records that are held stay as they are, while all others are used in turn, none left out."""
    bench = Bench(dut)
    rng = bench.rng
    for name in ("write_stb", "taken", "asked", "keep", "inner_stb", "held"):
        getattr(dut, name).value = 0
    await bench.reset()
    held: dict[int, int] = {}
    forgotten: dict[int, int] = {}
    records: dict[int, bytes] = {}
    last = ASKER_TOKEN - 1

    def hold() -> None:
        word = sum((1 | token << 1) << 7 * place for place, token in held.items())
        # Where none is held there may stand any number.
        word |= sum(token << 1 << 7 * place for place, token in forgotten.items())
        dut.held.value = word

    for number in range(600):
        record = rng.randbytes(OCTETS)
        token = await write(bench, record)
        await strobe(bench, taken=1)
        await bench.until(dut.keep_ready)
        new = int(dut.kept.value)
        due = (last + 1) % ASKER_TOKEN
        while due in held.values():
            due = (due + 1) % ASKER_TOKEN
        assert new == due, number
        last = new
        await bench.cycles()
        await strobe(bench, keep=1, keep_token=token)
        records[new] = record
        if rng.random() < 0.1:  # so seldom that most are held when their turn comes again
            # As a message that was authenticated: its record, or that of one shortly before it.
            place = rng.randrange(HELD)
            held[place] = new
            forgotten.pop(place, None)
            hold()
        elif rng.random() < 0.02 and held:
            place = rng.choice(sorted(held))
            del held[place]
            forgotten[place] = rng.randrange(ASKER_TOKEN)
            hold()
        if number % 25 == 24:
            await bench.until(dut.keep_ready)
            await bench.cycles()
            for one in held.values():
                assert await read(bench, one, 0, OCTETS) == records[one], one
    await bench.finish()
