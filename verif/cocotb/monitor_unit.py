"""The host's monitor with its log of events, as they stand in the NIC."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.host.events import EventLog, EventWord
from hw.host.monitor import HOST_STATE_BITS, BootWord, HostMonitor
from spec.host import BANK_EVENTS, EVENTS
from spec.sa import ALL_BANKS

__all__ = ["MonitorUnit"]

_OF_MONITOR = (
    *("reset_in", "sleep_in", "off_in", "alive_stb", "firmware_stb", "stop_stb", "window_ms"),
    *("told_stb", "told", "any_proven"),
)


class MonitorUnit(wiring.Component):
    """`HostMonitor` and `EventLog`; ports as theirs."""

    tick_ms: In(1)
    reset_in: In(1)
    sleep_in: In(1)
    off_in: In(1)
    alive_stb: In(1)
    firmware_stb: In(1)
    stop_stb: In(1)
    window_ms: In(20)
    told_stb: In(1)
    told: In(BootWord)
    any_proven: In(1)
    icv_stb: In(1)
    zeroise: In(1)
    bank_stbs: In(len(BANK_EVENTS))
    bank: In(range(ALL_BANKS))
    select: In(range(EVENTS))
    state: Out(HOST_STATE_BITS)
    watchdog_expired: Out(1)
    progress: Out(BootWord)
    number: Out(8)
    selected: Out(EventWord)

    def elaborate(self, platform):
        m = Module()
        m.submodules.monitor = monitor = HostMonitor()
        m.submodules.log = log = EventLog()
        m.d.comb += [
            *(getattr(monitor, name).eq(getattr(self, name)) for name in _OF_MONITOR),
            *(
                getattr(log, name).eq(getattr(self, name))
                for name in ("tick_ms", "icv_stb", "zeroise", "bank_stbs", "bank", "select")
            ),
            *(getattr(log, name).eq(getattr(monitor, name)) for name in ("state", "boot_stbs")),
            log.hung_stb.eq(monitor.hung_stb),
            log.hang_stb.eq(monitor.hang_stb),
            log.code.eq(monitor.progress.code),
            monitor.tick_ms.eq(self.tick_ms),
            *(
                getattr(self, name).eq(getattr(monitor, name))
                for name in ("state", "watchdog_expired", "progress")
            ),
            self.number.eq(log.number),
            self.selected.eq(log.selected),
        ]
        return m
