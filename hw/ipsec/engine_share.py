"""One cipher unit and a few HMAC lanes for both directions, a whole packet at a time."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.crypto.cipher import CipherMode, cipher_job_layout
from hw.stream import OctetSignature, SkidBuffer
from spec.sa import ALL_BANKS

__all__ = ["AUTH_PORTS", "CIPHER_USERS", "AuthBeat", "AuthJob", "EngineShare"]

CIPHER_USERS = ("inbound", "outbound")
AUTH_PORTS = ("main", "outer", "outbound")
AuthJob = data.StructLayout({"slot": range(4 * ALL_BANKS), "sha_1": 1})
"""A message to hash: under which key, and with which hash."""
AuthBeat = data.StructLayout({"data": 8, "last": 1})
"""An octet of a message."""

_CIPHER_DEPTH = 4
_AUTH_DEPTH = 8
_CBC_IV_OCTETS = 16
_TAG_OCTETS = 16


_Tag = data.StructLayout({"octet": 8, "port": range(len(AUTH_PORTS))})
"""An octet of a tag, and the number of the port that it goes to."""


def _route_tags(m: Module, name: str, *, order: SyncFIFO, port, tag, users):
    """Gives each tag to the port that stands first in `order`, and takes it off with its end.

    `tag` is a (valid, octet) of the source. A buffer keeps source and users apart.

    Returns
    -------
    Signal
        The source may let an octet go.
    """
    buffer = SkidBuffer(_Tag)
    m.submodules[f"{name}_buffer"] = buffer
    at = Signal(range(_TAG_OCTETS), name=f"{name}_octet")
    ready = Signal(name=f"{name}_ready")
    valid, octet = tag
    m.d.comb += [
        buffer.i.payload.octet.eq(octet),
        buffer.i.payload.port.eq(port),
        buffer.i.valid.eq(valid & order.r_rdy),
        ready.eq(buffer.i.ready & order.r_rdy),
        order.r_en.eq(valid & ready & (at == _TAG_OCTETS - 1)),
    ]
    with m.If(valid & ready):
        m.d.sync += at.eq(at + 1)
    for number, user in enumerate(users):
        is_mine = buffer.o.payload.port == number
        m.d.comb += [
            user.valid.eq(buffer.o.valid & is_mine),
            user.payload.eq(buffer.o.payload.octet),
        ]
        with m.If(is_mine):
            m.d.comb += buffer.o.ready.eq(user.ready)
    return ready


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
        self._queue = SyncFIFO(width=octets_bits + 1, depth=_CIPHER_DEPTH)
        m.submodules[name] = self._queue
        self.busy = Signal(name=f"{name}_busy")
        self.owner = Signal(name=f"{name}_owner")
        self._is_last = Signal(name=f"{name}_is_last")
        self._left = Signal(octets_bits, name=f"{name}_left")
        entry = data.View(
            data.StructLayout({"octets": octets_bits, "owner": 1}), self._queue.r_data
        )
        self.room = self._queue.w_rdy
        with m.If(~self.busy & self._queue.r_rdy):
            m.d.comb += self._queue.r_en.eq(1)
            m.d.sync += [
                self.busy.eq(1),
                self.owner.eq(entry.owner),
                self._left.eq(entry.octets),
                self._is_last.eq(entry.octets == 1),
            ]

    def push(self, m: Module, *, stb, octets, owner) -> None:
        """Adds an entry in a cycle with `stb`, unless it would be one of no octets."""
        m.d.comb += [
            self._queue.w_data.eq(Cat(octets, owner)),
            self._queue.w_en.eq(stb & octets.any()),
        ]

    def passed(self, m: Module, beat) -> None:
        """Counts an octet in each cycle with `beat`."""
        with m.If(self.busy & beat):
            m.d.sync += [self._left.eq(self._left - 1), self._is_last.eq(self._left == 2)]
            with m.If(self._is_last):
                m.d.sync += self.busy.eq(0)


class EngineShare(wiring.Component):
    """Gives the cipher unit and the HMAC lanes to whoever brings a job, a whole packet at a time.

    A job that was accepted has its engine: its octets come next, and its results go to its user, in
    the order of the jobs. Users take turns, so none of them starves. Several jobs may be under way
    in each engine; a job is taken two cycles after it is offered, or a few cycles later if another
    user's is first, and reaches the engine in the cycle after that.

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

    def __init__(self, *, lanes: int, slots: int = 2 * ALL_BANKS):
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
        m.submodules.tags = tags = SyncFIFO(width=1, depth=_CIPHER_DEPTH)

        # A job is granted in one cycle and goes into a register in the next; then its octets and
        # tag are promised to its user.
        preferred = Signal()  # whoever had no turn last, if both have a job
        turn = Signal()
        owner = Signal()
        granted, fresh, promised = Signal(), Signal(), Signal()
        may = Signal()
        m.d.comb += may.eq(
            ~self.job.valid & ~fresh & ~promised & taken.room & given.room & tags.w_rdy
        )
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
        has_tag = Signal()
        m.d.sync += [
            in_octets.eq(job.octets),
            out_octets.eq(job.octets),
            has_tag.eq(job.mode != CipherMode.CBC),
        ]
        with m.If(job.mode == CipherMode.GMAC):
            m.d.sync += out_octets.eq(0)
        with m.Elif((job.mode == CipherMode.CBC) & ~job.encrypt):
            m.d.sync += out_octets.eq(job.octets - _CBC_IV_OCTETS)
        taken.push(m, stb=promised, octets=in_octets, owner=owner)
        given.push(m, stb=promised, octets=out_octets, owner=owner)
        m.d.comb += [tags.w_data.eq(owner), tags.w_en.eq(promised & has_tag)]

        # Before the engine stands a buffer: its cipher and hash begin with a fresh cycle, and no
        # `ready` goes on from it to whoever reads the packet.
        m.submodules.buffer = buffer = SkidBuffer(8)
        wiring.connect(m, buffer.o, wiring.flipped(self.i))
        taken.passed(m, buffer.i.valid & buffer.i.ready)
        given.passed(m, self.o.valid & self.o.ready)
        m.d.comb += self.tag.ready.eq(
            _route_tags(
                m,
                "tag",
                order=tags,
                port=tags.r_data,
                tag=(self.tag.valid, self.tag.payload),
                users=[getattr(self, f"{user}_tag") for user in CIPHER_USERS],
            )
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
        m.submodules.order = order = SyncFIFO(width=order_layout.size, depth=_AUTH_DEPTH)
        port = Signal(range(len(AUTH_PORTS)))
        lane = Signal(range(max(self._lanes, 2)))
        is_free = Signal(self._lanes)
        feeds = Signal(len(AUTH_PORTS))
        may = Signal()
        offered = Signal()
        accepted = Signal()
        entry = Signal(order_layout)
        m.d.comb += [
            # A port that feeds a lane has no other one, or both would take its octets.
            may.eq(is_free.bit_select(lane, 1) & order.w_rdy & ~feeds.bit_select(port, 1)),
            offered.eq(Array(job.valid for job in jobs)[port]),
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

        owners, fed, ready = [], [], []
        for n in range(self._lanes):
            lane_job = getattr(self, f"lane_job_{n}")
            owner = Signal(range(len(AUTH_PORTS)), name=f"owner_{n}")
            feeding = Signal(name=f"feeding_{n}")
            m.submodules[f"buffer_{n}"] = buffer = SkidBuffer(AuthBeat)
            wiring.connect(m, buffer.o, wiring.flipped(getattr(self, f"lane_i_{n}")))
            m.d.comb += is_free[n].eq(~feeding & ~lane_job.valid)
            with m.If(lane_job.ready):
                m.d.sync += lane_job.valid.eq(0)
            with m.If(accepted & (lane == n)):
                m.d.sync += [
                    feeding.eq(1),
                    owner.eq(port),
                    lane_job.valid.eq(1),
                    lane_job.payload.eq(Array(job.payload.as_value() for job in jobs)[port]),
                ]
            m.d.comb += [
                buffer.i.payload.eq(Array(beat.payload.as_value() for beat in beats)[owner]),
                buffer.i.valid.eq(feeding & Array(beat.valid for beat in beats)[owner]),
            ]
            with m.If(buffer.i.valid & buffer.i.ready & buffer.i.payload.last):
                m.d.sync += feeding.eq(0)
            owners.append(owner)
            fed.append(feeding)
            ready.append(buffer.i.ready)
        for number, beat in enumerate(beats):
            mine = Signal(self._lanes, name=f"lanes_of_{AUTH_PORTS[number]}")
            m.d.comb += [
                mine.eq(
                    Cat(
                        is_fed & (owner == number) & is_ready
                        for is_fed, owner, is_ready in zip(fed, owners, ready, strict=True)
                    )
                ),
                beat.ready.eq(mine.any()),
                feeds[number].eq(
                    Cat(
                        is_fed & (owner == number)
                        for is_fed, owner in zip(fed, owners, strict=True)
                    ).any()
                ),
            ]

        first = data.View(order_layout, order.r_data)
        may_go = _route_tags(
            m,
            "lane_tag",
            order=order,
            port=first.port,
            tag=(
                Array(lane_tag.valid for lane_tag in lane_tags)[first.lane],
                Array(lane_tag.payload for lane_tag in lane_tags)[first.lane],
            ),
            users=tags,
        )
        for n, lane_tag in enumerate(lane_tags):
            m.d.comb += lane_tag.ready.eq(may_go & (first.lane == n))
