#!/usr/bin/env python3
"""Replays a long log and prints its speed and memory, and whether either grows with the length of the log.

Usage: measure_replay.py PROGRAM [EVENTS]          default 1,000,000 events; CUT=NAME takes another cut of tests/data

The log is a committed cut of recorded traffic, repeated with later times until it is long enough, so the callers come back day
after day. Machines and their load differ, so besides the rate the script prints ratios between the long log and a tenth of
it. Time should grow tenfold, memory should not grow.
"""
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAMP = '{"timestamp":"'


def shifted(line: str, by: datetime.timedelta) -> str:
    """The line with its timestamp moved. The timestamp is the first field of every recorded line."""
    if not line.startswith(STAMP):
        raise SystemExit(f"measure_replay: a line does not begin with its timestamp: {line[:60]}")
    end = line.index('"', len(STAMP))
    at = datetime.datetime.fromisoformat(line[len(STAMP) : end].replace("Z", "+00:00")) + by
    return STAMP + at.isoformat(timespec="milliseconds").replace("+00:00", "Z") + line[end:]


def write_log(lines: list[str], events: int, path: pathlib.Path) -> None:
    # Whole hours of the cut, so repetitions follow each other without a gap or an overlap.
    first, last = (datetime.datetime.fromisoformat(l[len(STAMP) : l.index('"', len(STAMP))].replace("Z", "+00:00")) for l in (lines[0], lines[-1]))
    hours = -(-int((last - first.replace(minute=0, second=0, microsecond=0)).total_seconds()) // 3600)
    written = 0
    with path.open("w") as out:
        while written < events:
            by = datetime.timedelta(hours=hours * (written // len(lines)))
            part = lines[: events - written]
            out.writelines(shifted(line, by) + "\n" for line in part)
            written += len(part)


def replay(program: str, log: pathlib.Path, profile: pathlib.Path, verdicts: pathlib.Path) -> tuple[float, float]:
    """Seconds of wall-clock time and peak resident megabytes of one replay, in its own process so that peaks are separate."""
    before = time.monotonic()
    child = subprocess.Popen(
        [program, "replay", log, "--reference", profile, "--verdicts", verdicts], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"measure_replay: the replay ended with status {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - before, usage.ru_maxrss / 1024


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    program, events = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    cut = ROOT / "tests/data" / os.environ.get("CUT", "01_stable_adult")
    model = json.loads((cut / "truth.json").read_text())["model"]
    lines = subprocess.run(["zstd", "-dqc", cut / "events.jsonl.zst"], check=True, capture_output=True, text=True).stdout.splitlines()
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        profile = at / "reference.json"
        subprocess.run(
            [program, "fit", cut / "baseline.csv.zst", "--model", model, "--prediction", "prediction", "-o", profile], check=True, capture_output=True
        )
        results = {}
        for count in (events // 10, events):
            log = at / "log.jsonl"
            write_log(lines, count, log)
            results[count] = replay(program, log, profile, at / "verdicts.jsonl")
            seconds, megabytes = results[count]
            print(f"{count:>9,} events: {seconds:6.1f} s, {count / seconds:>9,.0f} events/s, {megabytes:6.0f} MB at the peak")
        (short, small), (long, large) = results[events // 10], results[events]
        print(f"ten times the events took {long / short:.1f} times the time and {large / small:.2f} times the memory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
