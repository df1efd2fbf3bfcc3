"""Plays paths of the model check on the real thing: RTL, station with its SQLite store, agent.

Each step is done twice, by `verif.modelcheck` on its world and here on the running system, and what
can be seen of both must then be the same: the banks' states, the NIC's answers, the station's phase
and SAs, and what its store holds. Only what lies between the ends is not real: IKE is taken at its
seam, and packets wait in a list until the path has them arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from spec.host import HEARTBEAT_MAGIC
from spec.registers import BY_NAME
from spec.sa import BankState, SadCommand
from sw.ike.secret import Secret
from sw.nic import NicDriver, UnixSocketTransport
from sw.station.session import HostSession
from sw.station.store import Store, open_store
from verif.cosim.link import Bench, wait_until
from verif.modelcheck.agent import CONFIG, Life
from verif.modelcheck.diagram import label_text, packet_text
from verif.modelcheck.nic import Nic
from verif.modelcheck.station import Link, Run, Station
from verif.modelcheck.store import Row, record_of
from verif.modelcheck.words import (
    HOST_IP,
    LATE,
    TO_NIC,
    TO_STATION,
    Answer,
    Packet,
    esp_frame,
    esp_of_frame,
    frame_to_nic,
    open_esp,
    read_answer,
    read_request,
    sa_of,
    spi_of,
)
from verif.modelcheck.world import Engine, Label, World

COUNTED = ("add_sa", "mark_used", "mark_proven", "discard", "reserve", "set_state")
"""Transactions that the model counts, to say where a crash falls."""


class KilledError(BaseException):
    """The station dies here."""


class Registers:
    """The board's registers, as the agent's harness takes a model."""

    def __init__(self, path: Path) -> None:
        self._way = UnixSocketTransport(str(path))

    def bus_read(self, addr: int) -> int:
        """Read a register."""
        return self._way.read(addr)

    def bus_write(self, addr: int, value: int) -> None:
        """Write a register."""
        self._way.write(addr, value)

    def close(self) -> None:
        """Give the socket back."""
        self._way.close()


class LiveRun(Run):
    """The outside of the live station."""

    def __init__(self, on_wire: list[tuple[Packet, bytes]]) -> None:
        super().__init__(None)
        self.on_wire = on_wire
        self.effects = 0
        self.kill_after: int | None = None

    def send_esp(self, packet: bytes, _to: object) -> None:
        """A packet leaves, and waits on the wire."""
        sa, number, payload = open_esp(packet, TO_NIC)
        self.on_wire.append((Packet(sa, number, *read_request(payload)), packet))
        self.note()

    def note(self) -> None:
        """One more thing was done."""
        self.effects += 1
        if self.effects == self.kill_after:
            raise KilledError


class CountingStore:
    """The real store; tells of each transaction."""

    def __init__(self, store: Store, run: LiveRun) -> None:
        self._store = store
        self._run = run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in COUNTED:
            return found

        def counted(*args: Any) -> Any:
            result = found(*args)
            self._run.note()
            return result

        return counted


class Live:
    """The running system, settled on SA 1.

    Parameters
    ----------
    bench : Bench
        The board.
    folder : Path
        Where the store lies.
    """

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.side = Station()
        self.registers: Any = Registers(bench.board.registers)
        self.driver = NicDriver(UnixSocketTransport(str(bench.board.registers)))
        self.on_wire: list[tuple[Packet, bytes]] = []
        self.answers: list[tuple[Answer, bytes]] = []
        self.life: Life | None = None
        self.boot()
        self._prove_first()
        store = self._open()
        host = store.add_host("host", HOST_IP, "host.example", Secret(b"a psk of 16 octets"))
        store.add_sa(host.id, record_of(Row(1, 1, True, False), 1, 2))
        store.mark_proven(host.id, 1, (), 0.0)
        store.set_state(host.id, 2)
        self.start(store)

    def _open(self) -> Store:
        return open_store(self.folder / "station.db", self.folder / "station.key")

    def _prove_first(self) -> None:
        scratch = Nic()
        bank = scratch._template(1)
        address = {name: r.address for name, r in BY_NAME.items()}
        self.driver._command(SadCommand.STAGE, 0)
        for (name, index), value in bank.staged.items():
            self.registers.bus_write(address[name] + 4 * index, value)
        self.driver._command(SadCommand.READY, 0)
        self.bench.wire.send(frame_to_nic(Packet(1, 1, LATE, "status")))
        assert len(self._receive(2)) == 2

    def _receive(self, count: int) -> list[tuple[Answer, bytes]]:
        found = []
        for _ in range(count):
            frame = self.bench.wire.receive(lambda f: f[12:14] == b"\x08\x00" and f[23] == 50)
            esp = esp_of_frame(frame)
            sa, number, payload = open_esp(esp, TO_STATION)
            found.append((Answer(sa, number, *read_answer(payload)), esp))
        return found

    # --- the station ------------------------------------------------------------------------------

    def start(self, store: Store | None = None) -> None:
        """The station starts on its store."""
        self.store = store or self._open()
        self.run = LiveRun(self.on_wire)
        self.sessions: dict[int, HostSession] = {}
        self.plane = self.side.plane(self.run, self.sessions)
        counting: Any = CountingStore(self.store, self.run)
        host = self.store.host("host")
        self.session = HostSession(
            host,
            store=counting,
            wire=self.plane,
            exchanges=self.side.exchanges(self.run, self.sessions),
            tuning=self.side.tuning,
            wall=lambda: 0.0,
            now=0.0,
        )
        self.session._next_poll = 1.0
        self.sessions[host.id] = self.session

    def crash(self) -> None:
        """The station is gone, and starts again."""
        self.store.close()
        self.answers.clear()
        for place, (packet, esp) in enumerate(self.on_wire):
            self.on_wire[place] = packet._replace(name=LATE), esp
        self.start()

    def station(self, link: Link | None, what: tuple, kill_after: int | None = None) -> None:
        """Something happens to the station; it dies after so many things done, if it is to."""
        self.run.connections.clear()
        if link is not None:
            self.run.connections[link.connection] = self.side.connection(link, self.run)
        exchanges = self.side.exchanges(self.run, self.sessions)
        self.session._exchanges = exchanges
        self.run.effects, self.run.kill_after = 0, kill_after
        try:
            self.side.happen(self.run, self.session, self.plane, exchanges, link, what)
        except KilledError:
            self.crash()
        else:
            assert kill_after is None, "the station did less than the model says"
        assert not self.run.fault, self.run.fault
        waiting = {one.numbers.tag for one in self.session._rmcp._pending.values()}
        for place, (packet, esp) in enumerate(self.on_wire):
            if packet.name not in waiting:
                self.on_wire[place] = packet._replace(name=LATE), esp

    # --- host and NIC -----------------------------------------------------------------------------

    def boot(self) -> None:
        """The OS comes up."""
        self.life = Life(CONFIG, self.registers)

    def os_dies(self) -> None:
        """The OS is gone, by the host's reset."""
        assert self.life is not None
        self.life.close()
        self.life = None
        for level in (True, False):
            self.bench.board.pins.set("host_reset", level)

    def agent(self, what: tuple, connection: int) -> list[tuple]:
        """Something happens to the agent; gives what it asks of IKE."""
        assert self.life is not None
        self.life.connect(connection)
        self.life.take(what, self.registers, None)
        return list(self.life.log)

    def beat(self) -> None:
        """A heartbeat."""
        self.registers.bus_write(BY_NAME["HEARTBEAT"].address, HEARTBEAT_MAGIC)

    def to_nic(self, wanted: Packet, expected: list[Answer], kept: tuple[Answer, ...]) -> None:
        """A packet arrives at the NIC, which answers as expected."""
        same = [
            place
            for place, (packet, _) in enumerate(self.on_wire)
            if packet[3:] == wanted[3:]
            and packet.sa == wanted.sa
            and (packet.name == LATE) == (wanted.name == LATE)
        ]
        _, esp = self.on_wire.pop(same[-1])
        self.bench.wire.send(esp_frame(esp))
        got = self._receive(len(expected))
        assert [(a.sa, a.body) for a, _ in got] == [(a.sa, a.body) for a in expected]
        bodies = [(a.sa, a.body) for a in kept]
        self.answers += [(a, esp) for a, esp in got if (a.sa, a.body) in bodies]

    def taken(self, wanted: Answer) -> bytes:
        """An answer that arrives at the station."""
        for place, (answer, esp) in enumerate(self.answers):
            if (answer.sa, answer.body) == (wanted.sa, wanted.body):
                del self.answers[place]
                return esp
        raise AssertionError(f"no such answer on the wire: {packet_text(wanted)}")

    def banks(self) -> tuple[tuple[int, int], ...]:
        """As the driver reads them."""
        status = self.driver.sa_status()
        return (
            (sa_of(status.spi_in_a), int(status.bank_a)),
            (sa_of(status.spi_in_b), int(status.bank_b)),
        )

    def seen(self) -> dict[str, Any]:
        """All that can be compared with the model."""
        rows, _ = self.store.sas(self.session.host.id)
        machine = self.session.machine
        return {
            "banks": self.banks(),
            "phase": machine.phase,
            "held": [(sa.generation, sa.spi, sa.used, sa.proven) for sa in machine.held],
            "store": [
                (sa.generation, sa.spi_in, sa.view.used, sa.proven_at is not None) for sa in rows
            ],
            "answering": self.session.answering,
            "waiting": len(self.session._requests),
        }

    def close(self) -> None:
        """Leave an empty NIC behind."""
        self.store.close()
        if self.life is not None:
            self.life.close()
        for level in (True, False):
            self.bench.board.pins.set("zeroise", level)
        assert wait_until(lambda: not self.driver.sa_status().busy)
        self.driver.close()
        self.registers.close()


def modelled(engine: Engine, world: World) -> dict[str, Any]:
    """The same of the model."""
    state = engine.station(world)
    return {
        "banks": engine.nic(world).banks,
        "phase": state.machine.phase,
        "held": [(sa.generation, sa.spi, sa.used, sa.proven) for sa in state.machine.held],
        "store": [
            (row.generation, spi_of(row.sa, TO_STATION), row.used, row.proven)
            for row in engine.disk(world).rows
        ],
        "answering": state.answering,
        "waiting": len(state.waiting),
    }


def play(
    live: Live, engine: Engine, steps: list[str], say: Callable[[str], None] = lambda _: None
) -> World:
    """Play a path on both; gives the model's last world.

    Raises AssertionError where they differ.
    """
    world = engine.first()
    assert live.seen() == modelled(engine, world)
    for number, text in enumerate(steps, start=1):
        before = world
        found = [step for step in engine.steps(before) if label_text(step[0]) == text]
        assert found, f"step {number}: the model cannot do {text!r}"
        label, world = found[0]
        _do(live, engine, before, label, world)
        assert live.seen() == modelled(engine, world), f"step {number}, {text!r}"
        say(f"{number:3}  {text}")
    return world


def _do(live: Live, engine: Engine, before: World, label: Label, after: World) -> None:
    connection = before.agent_ike.connection if before.agent_ike is not None else 0
    match label:
        case ("station", "crashes"):
            live.crash()
        case ("station", "crashes in", inner, number):
            link, what, outcome = _input(engine, before, inner)
            live.station(link, _real(live, what), outcome.prefixes[number].effects)
        case ("station", *_):
            link, what, _ = _input(engine, before, label)
            live.station(link, _real(live, what))
        case ("nic", "receives", packet):
            numbers = engine._nic_numbers(before)
            expected = engine._nic_side.receive(engine.nic(before), numbers, packet)[2]
            live.to_nic(packet, expected, after.to_station)
        case ("nic", "timer"):
            wanted = engine.nic(after).banks
            assert wait_until(lambda: live.banks() == wanted)
            assert wait_until(lambda: not live.driver.sa_status().busy)
        case ("agent", "OS dies"):
            live.os_dies()
        case ("agent", "OS comes up"):
            live.boot()
        case ("agent", "heartbeat"):
            live.beat()
        case ("agent", "IKE request" | "late IKE request", kind, sa):
            ike = before.station_ike
            assert ike is not None
            event = "deleted" if kind == "delete" else "established"
            live.agent((event, sa, ike.connection), ike.connection)
        case ("agent", "at the NIC", *_):
            live.agent(("job",), connection)
        case ("agent", "tries again"):
            live.agent(("pause",), connection)
        case ("agent", "IKE gives up"):
            pass
        case _:
            raise AssertionError(f"no live counterpart of {label!r}")


def _input(engine: Engine, world: World, label: Label) -> Any:
    for one, before, link, what in engine.station_inputs(world):
        if one == label:
            return link, what, engine._run_station(before, link, what)
    raise AssertionError(f"no such input of the station: {label!r}")


def _real(live: Live, what: tuple) -> tuple:
    """The same input, with the octets that are on the wire."""
    return (what[0], live.taken(what[1])) if what[0] == "packet" else what


def proven_sa(live: Live) -> int:
    """The SA that the NIC relies upon; 0 for none."""
    return next((sa for sa, state in live.banks() if state == BankState.PROVEN), 0)
