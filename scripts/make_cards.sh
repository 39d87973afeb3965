#!/usr/bin/env bash
# make_cards.sh TRIPLINE: updates the sections of the drills in every models/<name>/CARD.md (attacks and honest changes, each in the log as
# it is and without its callers), and the drill that the README shows. `make cards` calls it; it takes some minutes. It is needed after a
# change of a profile, a log, the drill or the judge; the tests fail until then.
#
# adult and flights are drilled on the recorded cuts without attacks in tests/data. No such recording of magic exists, so its callers
# are simulated from its own profile; the card says so.
set -euo pipefail
cd "$(dirname "$0")/.."
tripline=$(realpath "$1")
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

"$tripline" simulate --reference models/magic/reference.json --hours 24 --clients 400 --seed 7 --out "$work/magic.jsonl" 2> /dev/null

# model, log, what the card calls the log
while IFS='|' read -r model log name; do
  for what in "" --without-callers --changes "--changes --without-callers"; do
    # shellcheck disable=SC2086 # no word, or some
    "$tripline" drill --reference "models/$model/reference.json" "$log" $what --card "models/$model/CARD.md" --log-name "$name" > /dev/null
  done
  echo "models/$model/CARD.md"
done <<LOGS
adult|tests/data/01_stable_adult/events.jsonl.zst|tests/data/01_stable_adult
flights|tests/data/02_stable_flights_mobile/events.jsonl.zst|tests/data/02_stable_flights_mobile
magic|$work/magic.jsonl|a simulated day (seed 7) of callers drawn from the profile
LOGS

# The README's drill, as a reader would type it.
command=$(sed -n 's:^    tripline drill ::p' README.md | sed "s:/tmp/:$work/:g")
# shellcheck disable=SC2086 # words of a command line
"$tripline" drill $command | sed -n '/^  attack /,/^$/p' | sed '/^$/d; s/^/    /' > "$work/table"
awk -v table="$work/table" '
  /^      attack / { while ((getline line < table) > 0) print line; skip = 1; next }
  skip && /^$/ { skip = 0 }
  !skip { print }
' README.md > "$work/README.md"
cat "$work/README.md" > README.md
echo README.md
