"""The one command of Holdfast: `holdfast`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from sw.cli.commands import (
    BOOT_OPTIONS,
    BOOT_SOURCES,
    KNOWN_ERRORS,
    alerts_list,
    command_error,
    host_add,
    host_list,
    host_remove,
    host_show,
    host_zeroise,
    power_host,
    station_init,
    station_run,
)
from sw.cli.host_commands import agent_run, nic_show
from sw.cli.output import EXIT_HELP, CommandError, Exit, Output, drop, open_streams
from sw.cli.pki_commands import (
    pki_csr,
    pki_csr_arguments,
    pki_init,
    pki_init_arguments,
    pki_issue,
    pki_issue_arguments,
    pki_revoke,
    pki_revoke_arguments,
)
from sw.config import LOG_LEVELS
from sw.nic import NicError

DEFAULT_CONFIG = "/etc/holdfast/holdfast.toml"
HOST_NAME_MAX = 255
Command = Callable[[argparse.Namespace, Output], None]


class _Parser(argparse.ArgumentParser):
    """Tells wrong arguments as any other error of a command is told."""

    def error(self, message: str) -> NoReturn:
        """Raise CommandError."""
        raise CommandError(Exit.USAGE, f"{message}; see: {self.prog} --help")


def _host(name: str) -> str:
    """The name of a host, as the store and the listings take it."""
    if not name.isprintable() or not 0 < len(name) <= HOST_NAME_MAX or " " in name:
        raise argparse.ArgumentTypeError(f"{name[:80]!r} is no name of a host")
    return name


def _word(text: str) -> int:
    """A number of 16 bits, as `0x12` or `18`."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no number from 0 to 0xFFFF")
    return value


def _boot_options(parser: _Parser) -> None:
    """What an administrator may ask of the host's firmware."""
    asked = parser.add_argument_group("for the host's firmware, once, of an administrator")
    asked.add_argument("--boot", choices=[*BOOT_SOURCES], help="what to boot from")
    asked.add_argument(
        "--boot-parameter", metavar="N", type=_word, help="of the source, e.g. which disk"
    )
    asked.add_argument(
        "--boot-option", action="append", choices=[*BOOT_OPTIONS], help="may be repeated"
    )
    asked.add_argument("--boot-oem", metavar="N", type=_word, help="OEM parameters")


def _parser() -> _Parser:
    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="write one JSON value, for programs")
    configured = _Parser(add_help=False, parents=[common])
    configured.add_argument(
        "--config", metavar="FILE", default=DEFAULT_CONFIG, help=f"default: {DEFAULT_CONFIG}"
    )
    configured.add_argument("--log-level", choices=LOG_LEVELS, help="instead of the file's")
    top = _Parser(
        prog="holdfast",
        description="Keeps a computer manageable while its operating system is down.",
        epilog=EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups = top.add_subparsers(dest="group", required=True, metavar="COMMAND")

    def add(
        group: argparse._SubParsersAction[_Parser],
        name: str,
        text: str,
        parent: _Parser,
        run: Command,
    ) -> _Parser:
        parser = group.add_parser(
            name,
            help=text,
            description=text,
            parents=[parent],
            epilog=EXIT_HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.set_defaults(run=run)
        return parser

    def sub(name: str, text: str) -> argparse._SubParsersAction[_Parser]:
        parser = groups.add_parser(name, help=text, description=text)
        return parser.add_subparsers(dest="action_group", required=True, metavar="ACTION")

    station = sub("station", "the management station")
    add(station, "init", "make the store and the key that seals it", configured, station_init)
    add(station, "run", "look after all hosts, until it is stopped", configured, station_run)

    host = sub("host", "the hosts that the station looks after")
    adding = add(host, "add", "take a host in", configured, host_add)
    adding.add_argument("host", metavar="HOST", type=_host, help="its name")
    adding.add_argument("--address", required=True, help="its IPv4 address")
    adding.add_argument("--identity", help="who it is in IKE (default: its name)")
    proof = adding.add_mutually_exclusive_group(required=True)
    proof.add_argument("--psk-file", metavar="FILE", help="its pre-shared key, mode 0600")
    proof.add_argument(
        "--certificate",
        action="store_true",
        help="it has a certificate of a CA of station.ca_file",
    )
    add(host, "list", "all hosts", configured, host_list)
    for name, text, run in (
        ("show", "one host: state, SA in use, refresh", host_show),
        ("remove", "forget a host and its SAs", host_remove),
    ):
        add(host, name, text, configured, run).add_argument("host", metavar="HOST", type=_host)

    zeroising = add(
        host,
        "zeroise",
        "empty all banks of a host's NIC, as an administrator",
        configured,
        host_zeroise,
    )
    zeroising.add_argument("host", metavar="HOST", type=_host)
    zeroising.add_argument("--yes", action="store_true", help="it is meant")
    alerts = sub("alerts", "what the hosts' NICs tell of their own accord")
    listing = add(alerts, "list", "alerts heard since the station runs", configured, alerts_list)
    listing.add_argument("host", metavar="HOST", type=_host, nargs="?", help="of this host alone")

    power = sub("power", "reset a host, or switch it on or off")
    for action, text in (
        ("reset", "press its reset button"),
        ("on", "switch it on, or wake it"),
        ("off", "switch it off at once"),
        ("cycle", "switch it off, and on again"),
    ):
        parser = add(power, action, text, configured, power_host)
        if action != "off":
            _boot_options(parser)
        parser.add_argument("host", metavar="HOST", type=_host)
        parser.set_defaults(action=action)

    agent = sub("agent", "the program on the host's OS")
    add(agent, "run", "answer IKE and load SAs into the NIC, until stopped", configured, agent_run)

    pki = sub("pki", "a CA of your own, and certificates for station and hosts")
    arguments_of = {
        "init": pki_init_arguments,
        "csr": pki_csr_arguments,
        "issue": pki_issue_arguments,
        "revoke": pki_revoke_arguments,
    }
    for action, text, run in (
        ("init", "make a CA in a new folder", pki_init),
        ("csr", "make a request for a certificate, and its key", pki_csr),
        ("issue", "issue a certificate, to a request or with a new key", pki_issue),
        ("revoke", "revoke a certificate, and write the CRL anew", pki_revoke),
    ):
        arguments_of[action](add(pki, action, text, common, run))

    nic = sub("nic", "the NIC of this machine")
    showing = add(nic, "show", "identity, capabilities, banks, host, counters", common, nic_show)
    way = showing.add_mutually_exclusive_group(required=True)
    way.add_argument("--socket", metavar="PATH", help="register socket of a virtual board")
    way.add_argument("--serial", metavar="DEVICE", help="serial line of a register bridge")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code (`Exit`)."""
    words = sys.argv[1:] if argv is None else argv
    open_streams()
    output = Output(as_json="--json" in words)
    try:
        error = _run(words, output)
        if error is not None:
            output.error(error)
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
        return Exit.FAILED
    except OSError as failed:
        drop(sys.stdout)
        output.say(f"holdfast: cannot write to standard output: {failed.strerror or failed}")
        return Exit.FAILED
    return Exit.OK if error is None else error.code


def _run(words: Sequence[str], output: Output) -> CommandError | None:
    """Run a command; gives its error. BrokenPipeError is the caller's."""
    try:
        arguments = _parser().parse_args(words)
        run: Command = arguments.run
        run(arguments, output)
    except SystemExit:
        # Help was asked for, and given.
        return None
    except CommandError as error:
        return error
    except KNOWN_ERRORS as error:
        return command_error(error)
    except NicError as error:
        return CommandError(Exit.UNAVAILABLE, str(error))
    except KeyboardInterrupt:
        return CommandError(Exit.FAILED, "interrupted")
    except BrokenPipeError:
        raise
    except OSError as error:
        return CommandError(Exit.FAILED, f"{error.strerror or error}")
    return None
