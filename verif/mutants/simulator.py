"""Runs a simulator for one mutant: ends it at the first test that fails, or when it took too long.

    python simulator.py SIMULATOR [ARGUMENT ...]

Stands where `verif.cocotb.runner` expects the simulator of an unmutated design. Environment:
HOLDFAST_MUTANT, the number of the mutant; HOLDFAST_MUTANT_SECONDS, of processor time at most.
Exit code: 0; 1 if a test failed or the simulator did; 3 if the time was over; 4 if somebody else
ended the simulator, which says nothing of the mutant.
"""

import os
import re
import resource
import signal
import subprocess
import sys

STOPPED = "mutant: stopped from outside"
FAILED = re.compile(r"cocotb\.regression\s+\S+ failed")


def main() -> int:
    """Runs it, and returns the exit code."""
    seconds = int(os.environ["HOLDFAST_MUTANT_SECONDS"])
    mutant = f"+mutant={int(os.environ['HOLDFAST_MUTANT'])}"
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    failed = False
    with subprocess.Popen(
        [*sys.argv[1:], mutant], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as simulator:
        assert simulator.stdout is not None
        for line in simulator.stdout:
            sys.stdout.write(line)
            if FAILED.search(line):
                failed = True
                simulator.kill()
    if failed:
        return 1
    if simulator.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        print(f"mutant: more than {seconds} s of processor time")
        return 3
    if simulator.returncode in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        print(STOPPED)
        return 4
    return simulator.returncode and 1


if __name__ == "__main__":
    sys.exit(main())
