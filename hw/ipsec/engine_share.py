"""One cipher unit and a few HMAC lanes for both directions, a whole packet at a time."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.cipher import CipherMode, cipher_job_layout
from hw.short_queue import ShortQueue
from hw.stream import OctetSignature, SkidBuffer
from spec.sa import BANKS

__all__ = ["AUTH_PORTS", "CIPHER_USERS", "AuthBeat", "AuthJob", "EngineShare"]

CIPHER_USERS = ("inbound", "outbound")
AUTH_PORTS = ("main", "outer", "outbound")
AuthJob = data.StructLayout({"slot": range(4 * BANKS), "sha_1": 1})
"""A message to hash: under which key, and with which hash."""
AuthBeat = data.StructLayout({"data": 8, "last": 1})
"""An octet of a message."""

_CIPHER_DEPTH = 4
_AUTH_DEPTH = 8
_CBC_IV_OCTETS = 16
_TAG_OCTETS = 16


_Tag = data.StructLayout({"octet": 8, "port": range(len(AUTH_PORTS))})
"""An octet of a tag, and the number of the port that it goes to."""


def _route_tags(m: Module, name: str, *, order: ShortQueue, port, source, tags, users):
    """Gives each tag to the port that stands first in `order`, and takes it off with its end.

    `port` and `source` are the parts of its first entry: to whom the tag goes, and which of `tags`
    it is. The entry stands in registers, and a buffer keeps tags and users apart.
    """
    buffer = SkidBuffer(_Tag)
    m.submodules[f"{name}_buffer"] = buffer
    at = Signal(range(_TAG_OCTETS), name=f"{name}_octet")
    is_last = Signal(name=f"{name}_is_last")
    busy = Signal(name=f"{name}_busy")
    turns = Signal(len(tags), name=f"{name}_turns")  # one of them at most
    moves = Signal(name=f"{name}_moves")
    m.d.comb += [
        order.r_en.eq(~busy & order.r_rdy),
        buffer.i.valid.eq(
            Cat(turn & tag.valid for turn, tag in zip(turns, tags, strict=True)).any()
        ),
        *(tag.ready.eq(turn & buffer.i.ready) for turn, tag in zip(turns, tags, strict=True)),
        moves.eq(buffer.i.valid & buffer.i.ready),
    ]
    for turn, tag in zip(turns, tags, strict=True):
        with m.If(turn):
            m.d.comb += buffer.i.payload.octet.eq(tag.payload)
    to = Signal.like(buffer.i.payload.port, name=f"{name}_port")
    m.d.comb += buffer.i.payload.port.eq(to)
    with m.If(moves):
        m.d.sync += [at.eq(at + 1), is_last.eq(at == _TAG_OCTETS - 2)]
    with m.If(~busy):
        m.d.sync += to.eq(port)
    follows = Cat(order.r_rdy & (source == n) for n in range(len(tags)))
    stays = ~(moves & is_last)
    m.d.sync += [
        busy.eq(Mux(busy, stays, order.r_rdy)),
        turns.eq(Mux(busy, turns & stays.replicate(len(tags)), follows)),
    ]
    for number, user in enumerate(users):
        is_mine = buffer.o.payload.port == number
        m.d.comb += [
            user.valid.eq(buffer.o.valid & is_mine),
            user.payload.eq(buffer.o.payload.octet),
        ]
        with m.If(is_mine):
            m.d.comb += buffer.o.ready.eq(user.ready)


class _Turns:
    """Octets that belong to users in turns: a small queue of (owner, octets), and the first of it.

    Attributes
    ----------
    room : Value
        An entry more fits, not counting one of this cycle.
    busy, owner : Signal
        Whose octets pass now.
    """

    def __init__(self, m: Module, name: str, *, octets_bits: int) -> None:
        self._queue = ShortQueue(width=octets_bits + 1, depth=_CIPHER_DEPTH)
        m.submodules[name] = self._queue
        self.busy = Signal(name=f"{name}_busy")
        self.owner = Signal(name=f"{name}_owner")
        self._left = Signal(octets_bits, name=f"{name}_left")
        entry = data.View(
            data.StructLayout({"octets": octets_bits, "owner": 1}), self._queue.r_data
        )
        self.room = self._queue.level != _CIPHER_DEPTH
        with m.If(~self.busy & self._queue.r_rdy):
            m.d.comb += self._queue.r_en.eq(1)
            m.d.sync += [
                self.owner.eq(entry.owner),
                self._left.eq(entry.octets),
            ]

    def push(self, m: Module, *, stb, octets, owner) -> None:
        """Adds an entry in a cycle with `stb`."""
        m.d.comb += [
            self._queue.w_data.eq(Cat(octets, owner)),
            self._queue.w_en.eq(stb),
        ]

    def passed(self, m: Module, beat) -> None:
        """Counts an octet in each cycle with `beat`."""
        with m.If(self.busy & beat):
            m.d.sync += self._left.eq(self._left - 1)
        stays = ~(beat & (self._left == 1))
        m.d.sync += self.busy.eq(Mux(self.busy, stays, self._queue.r_rdy))


class EngineShare(wiring.Component):
    """Gives the cipher unit and the HMAC lanes to whoever brings a job, a whole packet at a time.

    A job that was accepted has its engine: its octets come next, and its results go to its user, in
    the order of the jobs. Users take turns, so none of them starves. Several jobs may be under way
    in each engine; a job is taken two or three cycles after it is offered, or a few cycles later if
    another user's is first, and reaches the engine in the cycle after that.

    A user must bring the octets of an accepted job, and take its results, without waiting for
    anything of the other user. The inbound ports `main` and `outer` may wait for each other: they
    are the two messages of one packet. Their user brings a packet's jobs, and takes its tags, in
    one order. (With one lane a packet must not need both at once.)

    Parameters
    ----------
    lanes : int
        HMAC lanes, at least 1.
    slots : int
        Of the cipher unit's key store.

    Attributes
    ----------
    U_job, U_i, U_o, U_tag
        Of U in `CIPHER_USERS`, as of the cipher unit.
    P_auth_job, P_auth_i, P_auth_tag
        Of P in `AUTH_PORTS`, as of an HMAC lane.
    job, i, o, tag, lane_job_N, lane_i_N, lane_tag_N
        Towards the engines.
    """

    def __init__(self, *, lanes: int, slots: int = 2 * BANKS):
        if lanes < 1:
            raise ValueError(f"lanes must be at least 1, not {lanes!r}")
        self._lanes = lanes
        self._slots = slots
        job = stream.Signature(cipher_job_layout(slots=slots))
        tag = OctetSignature()
        auth_job, auth_beat = stream.Signature(AuthJob), stream.Signature(AuthBeat)
        ports: dict[str, wiring.Member] = {}
        for user in CIPHER_USERS:
            ports |= {
                f"{user}_job": In(job),
                f"{user}_i": In(OctetSignature()),
                f"{user}_o": Out(OctetSignature()),
                f"{user}_tag": Out(tag),
            }
        for port in AUTH_PORTS:
            ports |= {
                f"{port}_auth_job": In(auth_job),
                f"{port}_auth_i": In(auth_beat),
                f"{port}_auth_tag": Out(tag),
            }
        for n in range(lanes):
            ports |= {
                f"lane_job_{n}": Out(auth_job),
                f"lane_i_{n}": Out(auth_beat),
                f"lane_tag_{n}": In(tag),
            }
        super().__init__(
            {
                **ports,
                "job": Out(job),
                "i": Out(OctetSignature()),
                "o": In(OctetSignature()),
                "tag": In(tag),
            }
        )

    @property
    def lanes(self) -> int:
        """HMAC lanes."""
        return self._lanes

    @property
    def slots(self) -> int:
        """Slots of the cipher unit's key store."""
        return self._slots

    def elaborate(self, platform):
        m = Module()
        self._share_cipher(m)
        self._share_lanes(m)
        return m

    def _share_cipher(self, m):
        octets_bits = len(self.job.payload.octets)
        taken = _Turns(m, "taken", octets_bits=octets_bits)
        given = _Turns(m, "given", octets_bits=octets_bits)
        m.submodules.tags = tags = ShortQueue(width=1, depth=_CIPHER_DEPTH)

        # A job is granted in one cycle and goes into a register in the next; then its octets and
        # tag are promised to its user.
        preferred = Signal()  # whoever had no turn last, if both have a job
        turn = Signal()
        owner = Signal()
        granted, fresh, promised = Signal(), Signal(), Signal()
        may, has_room = Signal(), Signal()
        m.d.sync += has_room.eq(taken.room & given.room & (tags.level != _CIPHER_DEPTH) & ~promised)
        m.d.comb += may.eq(~self.job.valid & ~fresh & ~promised & has_room)
        users = [getattr(self, f"{user}_job") for user in CIPHER_USERS]
        m.d.sync += [fresh.eq(granted), promised.eq(fresh)]
        with m.If(self.job.ready):
            m.d.sync += self.job.valid.eq(0)
        for number, user in enumerate(users):
            m.d.comb += user.ready.eq(granted & (turn == number))
        first, second = (user.valid for user in users)
        m.d.sync += [
            granted.eq(may & (first | second) & ~granted),
            turn.eq(second & (preferred | ~first)),
        ]
        with m.If(granted):
            m.d.sync += [
                self.job.valid.eq(1),
                self.job.payload.eq(Array(user.payload.as_value() for user in users)[turn]),
                owner.eq(turn),
            ]
            m.d.sync += preferred.eq(~turn)
        job = self.job.payload
        in_octets, out_octets = Signal(octets_bits), Signal(octets_bits)
        takes, gives, has_tag = Signal(), Signal(), Signal()
        m.d.sync += [
            in_octets.eq(job.octets),
            out_octets.eq(job.octets),
            takes.eq(fresh & job.octets.any()),
            gives.eq(fresh & job.octets.any() & (job.mode != CipherMode.GMAC)),
            has_tag.eq(fresh & (job.mode != CipherMode.CBC)),
        ]
        with m.If((job.mode == CipherMode.CBC) & ~job.encrypt):
            m.d.sync += [
                out_octets.eq(job.octets - _CBC_IV_OCTETS),
                gives.eq(fresh & (job.octets != _CBC_IV_OCTETS)),
            ]
        taken.push(m, stb=takes, octets=in_octets, owner=owner)
        given.push(m, stb=gives, octets=out_octets, owner=owner)
        m.d.comb += [tags.w_data.eq(owner), tags.w_en.eq(has_tag)]

        # Before the engine stands a buffer: its cipher and hash begin with a fresh cycle, and no
        # `ready` goes on from it to whoever reads the packet.
        m.submodules.buffer = buffer = SkidBuffer(8)
        wiring.connect(m, buffer.o, wiring.flipped(self.i))
        taken.passed(m, buffer.i.valid & buffer.i.ready)
        given.passed(m, self.o.valid & self.o.ready)
        _route_tags(
            m,
            "tag",
            order=tags,
            port=tags.r_data,
            source=Const(0),
            tags=[self.tag],
            users=[getattr(self, f"{user}_tag") for user in CIPHER_USERS],
        )
        for number, user in enumerate(CIPHER_USERS):
            i, o = getattr(self, f"{user}_i"), getattr(self, f"{user}_o")
            m.d.comb += o.payload.eq(self.o.payload)
            with m.If(taken.busy & (taken.owner == number)):
                m.d.comb += [
                    buffer.i.valid.eq(i.valid),
                    i.ready.eq(buffer.i.ready),
                ]
            with m.If(given.busy & (given.owner == number)):
                m.d.comb += [o.valid.eq(self.o.valid), self.o.ready.eq(o.ready)]
        m.d.comb += buffer.i.payload.eq(
            Array(getattr(self, f"{u}_i").payload for u in CIPHER_USERS)[taken.owner]
        )

    def _share_lanes(self, m):
        ports = range(len(AUTH_PORTS))
        jobs, beats, tags = (
            [getattr(self, f"{port}_auth_{name}") for port in AUTH_PORTS]
            for name in ("job", "i", "tag")
        )
        lane_tags = [getattr(self, f"lane_tag_{n}") for n in range(self._lanes)]
        # Where each message went and whose it is, in the order of the jobs: tags leave in that
        # order. A lane whose tag waits for an older one of another lane loses no time by it while
        # the older one is under way: what follows stands in its FIFO.
        order_layout = data.StructLayout(
            {"port": range(len(AUTH_PORTS)), "lane": range(max(self._lanes, 2))}
        )
        m.submodules.order = order = ShortQueue(width=order_layout.size, depth=_AUTH_DEPTH)
        port = Signal(range(len(AUTH_PORTS)))
        lane = Signal(range(max(self._lanes, 2)))
        is_free = Signal(self._lanes)
        feeds = Signal(len(AUTH_PORTS))
        may = Signal()
        offered = Signal()
        accepted = Signal()
        has_room = Signal()
        wanted = Signal(len(AUTH_PORTS))
        entry = Signal(order_layout)
        # Both are a cycle late. The queue keeps a place for it; and an accepted port is looked at
        # again no sooner than after the others.
        m.d.sync += [
            has_room.eq(order.level < _AUTH_DEPTH - 1),
            # A port that feeds a lane has no other one, or both would take its octets.
            wanted.eq(Cat(job.valid for job in jobs) & ~feeds),
        ]
        m.d.comb += [
            offered.eq(wanted.bit_select(port, 1)),
            may.eq(is_free.bit_select(lane, 1) & has_room),
            entry.port.eq(port),
            entry.lane.eq(lane),
            order.w_data.eq(entry),
            order.w_en.eq(accepted),
        ]
        # What may be accepted now may be so in the next cycle. Both hands go round: one past the
        # ports, one past the lanes.
        m.d.sync += accepted.eq(may & offered & ~accepted)
        with m.If(accepted | ~offered):
            m.d.sync += port.eq(Mux(port == ports[-1], 0, port + 1))
        if self._lanes > 1:
            with m.If(accepted | ~is_free.bit_select(lane, 1)):
                m.d.sync += lane.eq(Mux(lane == self._lanes - 1, 0, lane + 1))
        for number, job in enumerate(jobs):
            m.d.comb += job.ready.eq(accepted & (port == number))

        # Who feeds a lane: one flip-flop for each port.
        feeders, ready = [], []
        for n in range(self._lanes):
            lane_job = getattr(self, f"lane_job_{n}")
            feeder = Signal(len(AUTH_PORTS), name=f"feeder_{n}")
            feeding = Signal(name=f"feeding_{n}")
            m.submodules[f"buffer_{n}"] = buffer = SkidBuffer(AuthBeat)
            wiring.connect(m, buffer.o, wiring.flipped(getattr(self, f"lane_i_{n}")))
            m.d.comb += is_free[n].eq(~feeding & ~lane_job.valid)
            with m.If(lane_job.ready):
                m.d.sync += lane_job.valid.eq(0)
            with m.If(accepted & (lane == n)):
                m.d.sync += [
                    feeding.eq(1),
                    feeder.eq(Cat(port == number for number in ports)),
                    lane_job.valid.eq(1),
                    lane_job.payload.eq(Array(job.payload.as_value() for job in jobs)[port]),
                ]
            mine = list(zip(feeder, beats, strict=True))
            m.d.comb += [
                buffer.i.payload.eq(
                    reduce(or_, (Mux(feeds, beat.payload.as_value(), 0) for feeds, beat in mine))
                ),
                buffer.i.valid.eq(Cat(feeds & beat.valid for feeds, beat in mine).any()),
            ]
            with m.If(buffer.i.valid & buffer.i.ready & buffer.i.payload.last):
                m.d.sync += [feeding.eq(0), feeder.eq(0)]
            feeders.append(feeder)
            ready.append(buffer.i.ready)
        for number, beat in enumerate(beats):
            fed = [feeder[number] for feeder in feeders]
            m.d.comb += [
                beat.ready.eq(Cat(a & b for a, b in zip(fed, ready, strict=True)).any()),
                feeds[number].eq(Cat(fed).any()),
            ]

        first = data.View(order_layout, order.r_data)
        _route_tags(
            m,
            "lane_tag",
            order=order,
            port=first.port,
            source=first.lane,
            tags=lane_tags,
            users=tags,
        )
