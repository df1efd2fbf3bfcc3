"""A host as people and programs see it: `holdfast host show HOST --json`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from spec.host import HostState
from sw.station.alerts import alert_name
from sw.station.records import HostRecord, SaRecord
from sw.station.session import HostSession

Json = dict[str, object]


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (OSError, OverflowError, ValueError):
        return None  # no time of a clock's: the record was damaged


def spi_text(spi: int | None) -> str | None:
    """An SPI as it is written everywhere."""
    return None if spi is None else f"0x{spi:08x}"


def _sa(sa: SaRecord) -> Json:
    return {
        "generation": sa.generation,
        "spi_in": spi_text(sa.spi_in),
        "spi_out": spi_text(sa.spi_out),
        "suite": sa.suite.name,
        "esn": sa.esn,
        "encapsulation": "udp" if sa.encap_udp else "raw",
        "used": sa.view.used,
        "proven": sa.proven_at is not None,
        "proven_at": _time(sa.proven_at),
        "created": _time(sa.created),
    }


def describe_record(host: HostRecord, sas: list[SaRecord]) -> Json:
    """What the store alone tells: no station looks after the host."""
    proven = [sa for sa in sas if sa.proven_at is not None]
    used = proven[-1] if proven else (sas[-1] if sas else None)
    return {
        "name": host.name,
        "address": str(host.address),
        "identity": host.identity,
        "live": False,
        "state": None,
        "authenticated": False,
        "answering": False,
        "discovered": False,
        "phase": None,
        "sa": None if used is None else {**_sa(used), "spi_in_use": spi_text(used.spi_out)},
        "held": [_sa(sa) for sa in sas],
        "refresh": {
            "last": _time(host.refresh_last),
            "count": host.refresh_count,
            "running": False,
            "inhibited": True,
            "reason": "no station is running",
            "due_in_s": None,
        },
        "fault": None,
    }


def describe(session: HostSession, now: Callable[[], float]) -> Json:
    """A host that the running station looks after.

    `state` is a name of spec.host.HostState or null; `authenticated` says whether the NIC told it
    under an SA. `sa` is the one that the next command goes out under.
    """
    state = session.shown_state
    order = session.machine.order
    used = session.sas.get(order[0]) if order else None
    decision = session.decision
    return {
        **describe_record(session.host, [session.sas[g] for g in sorted(session.sas)]),
        "live": True,
        "state": None if state is None else state.name,
        "authenticated": bool(session.answering) and session.state is not None,
        "answering": bool(session.answering),
        "discovered": session.discovered,
        "phase": session.machine.phase.value,
        "sa": None if used is None else {**_sa(used), "spi_in_use": spi_text(used.spi_out)},
        "refresh": {
            "last": _time(session.host.refresh_last),
            "count": session.host.refresh_count,
            "running": session.running,
            "inhibited": decision.inhibited,
            "reason": decision.reason,
            "due_in_s": None if decision.due is None else round(max(0.0, decision.due - now()), 3),
        },
        "fault": session.fault,
    }


def describe_alerts(session: HostSession) -> Json:
    """The alerts that a host's NIC sent under its SAs, oldest first."""
    return {
        "host": session.host.name,
        "refused": session.alerts.refused,
        "alerts": [
            {
                "time": _time(heard.at),
                "kind": alert_name(heard.alert),
                "state": _name(heard.alert.state),
                "before": _name(heard.alert.before),
                "code": heard.alert.code,
                "severity": heard.alert.severity,
                "sequence": heard.alert.sequence,
                "uptime_s": heard.alert.uptime_s,
                "times": heard.times,
            }
            for heard in session.alerts.heard
        ],
    }


def _name(state: HostState | None) -> str | None:
    return None if state is None else state.name
