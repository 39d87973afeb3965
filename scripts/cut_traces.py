#!/usr/bin/env python3
"""Reduces recorded traffic, with its truth, to what the tests need, and writes it under tests/data.

Usage: cut_traces.py TRACES [tests/data]

A cut is everything that was logged before a certain hour. No caller and no row before it is left out, so windows, volumes and shares of
traffic are those of the full recording. The hour is some hours after the scenario's attack or drift begins. The truth
file is reduced in the same way: attack rows, addresses and accounts that appear later are removed, so the cut can be scored
with the same score.py. The same input gives the same bytes (zstd at a fixed level).
"""
import csv
import io
import json
import pathlib
import subprocess
import sys

# Scenario, the hour (UTC) before which it is kept, and the reason for that hour.
CUTS = [
    ("01_stable_adult", "2026-03-02T12:00:00Z"),  # batch job, NAT, health checks, what-if users: all appear before noon
    ("02_stable_flights_mobile", "2026-03-02T12:00:00Z"),
    ("04_drift_gradual_adult", "2026-03-03T06:00:00Z"),  # the shift begins at 8 and grows through the day
    ("05_drift_unit_flights", "2026-03-02T18:00:00Z"),  # the unit changes at 14
    ("10_hopskipjump_fast", "2026-03-02T12:00:00Z"),  # attack from 9:10 to 9:25
    ("20_tramer_dist24_and_behind_nat", "2026-03-02T17:00:00Z"),  # over a /24 from 9:06, behind a NAT from 14:27
    ("22_grid_dist_ofat_jitter", "2026-03-02T14:00:00Z"),  # grid from 8:08, one feature at a time from 10:12
    ("23_uniform_heavy", "2026-03-02T11:00:00Z"),  # from 9:00
    ("24_mixed_season_active", "2026-03-02T22:00:00Z"),  # seasonal drift from 8, attack from 12:11 to 13:55
]


def unpack(path: pathlib.Path) -> bytes:
    return subprocess.run(["zstd", "-dqc", path], check=True, capture_output=True).stdout


def pack(content: bytes, path: pathlib.Path) -> int:
    # Level 19 is the highest that every reader unpacks with default memory limits.
    packed = subprocess.run(["zstd", "-19", "-qc"], input=content, check=True, capture_output=True).stdout
    path.write_bytes(packed)
    return len(packed)


def cut_events(raw: bytes, end: str) -> tuple[bytes, list[dict]]:
    kept = [line for line in raw.splitlines(keepends=True) if json.loads(line)["timestamp"] < end]
    return b"".join(kept), [json.loads(line) for line in kept]


def cut_attacks(raw: bytes, end: str) -> tuple[bytes, list[dict]]:
    rows = [row for row in csv.DictReader(io.StringIO(raw.decode())) if row["timestamp"] < end]
    out = io.StringIO()
    writer = csv.DictWriter(out, ["line", "campaign", "cover", "timestamp", "source_ip", "client_id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(), rows


def cut_truth(truth: dict, events: list[dict], attacks: list[dict], end: str) -> dict:
    """The truth about the cut: the fields that score.py reads, and those that describe the scenario to a person."""
    addresses = {row["source_ip"] for row in attacks}
    accounts = {row["client_id"] for row in attacks}
    seen = {event["source_ip"] for event in events}
    campaigns = []
    for attack in truth["attacks"]:
        mine = [row for row in attacks if int(row["campaign"]) == attack["id"]]
        if not mine:
            continue
        kept = {key: attack[key] for key in ("id", "name", "family", "tool", "delivery", "ambiguous", "start")}
        kept["end"] = min(attack["end"], end)
        kept["n_queries"] = sum(row["cover"] == "0" for row in mine)
        kept["n_cover"] = sum(row["cover"] != "0" for row in mine)
        kept["ips"] = sorted({row["source_ip"] for row in mine})
        kept["clients"] = sorted({row["client_id"] for row in mine} - {""})
        campaigns.append(kept)
    malicious = sorted(set(truth["malicious_ips"]) & addresses)
    shared = sorted(set(truth["shared_ips"]) & seen)
    return {
        "scenario": truth["scenario"],
        "model": truth["model"],
        "victim": truth["victim"],
        "victim_kind": truth["victim_kind"],
        "output": truth["output"],
        "cut_before": end,
        "malicious_ips": malicious,
        "malicious_clients": sorted(set(truth["malicious_clients"]) & accounts),
        "shared_ips": shared,
        "benign_hard_negatives": {ip: what for ip, what in truth["benign_hard_negatives"].items() if ip in seen},
        "attacks": campaigns,
        "drift": truth["drift"],
        "n_events": len(events),
        "n_attack_queries": len(attacks),
        "n_benign_ips": len(seen - set(malicious)),
        "hours": int(end[8:10]) * 24 - 48 + int(end[11:13]),
        "expected_model_verdict": truth["expected_model_verdict"],
    }


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    traces, to = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/data")
    total = 0
    for name, end in CUTS:
        source, target = traces / name, to / name
        target.mkdir(parents=True, exist_ok=True)
        raw, events = cut_events(unpack(source / "events.jsonl.zst"), end)
        rows, attacks = cut_attacks(unpack(source / "attack_events.csv.zst"), end)
        truth = cut_truth(json.loads((source / "truth.json").read_text()), events, attacks, end)
        size = pack(raw, target / "events.jsonl.zst")
        size += pack(rows, target / "attack_events.csv.zst")
        size += pack(unpack(source / "baseline.csv.zst"), target / "baseline.csv.zst")
        (target / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
        total += size
        print(f"{name:34s} {len(events):6d} events, {len(attacks):5d} of an attack, {size // 1024:5d} KB, expected {truth['expected_model_verdict']}")
    print(f"{total / 2**20:.1f} MB in {to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
