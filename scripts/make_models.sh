#!/usr/bin/env bash
# make_models.sh TRIPLINE: makes models/<name>/reference.json from the committed baselines, signs them, and updates the
# generated part of each CARD.md. `make models` calls it.
#
# A profile whose content did not change keeps its file and its signature. When one changes, all are signed with the private
# key in TRIPLINE_SIGNING_KEY. If that is not set, they are signed with a new key whose private half is deleted at the end, so nobody
# can use it again. models/signing.pub is the public half.
set -euo pipefail
cd "$(dirname "$0")/.."
tripline=$(realpath "$1")
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
umask 077

# model, folder of its baseline under tests/data
profiles="adult 01_stable_adult
flights 02_stable_flights_mobile
magic 23_uniform_heavy"

digest() { [ -f "$1" ] && sed -n 's/.*"digest":"\([0-9a-f]*\)".*/\1/p' "$1" || true; }

changed=no
while read -r model baseline; do
  "$tripline" fit "tests/data/$baseline/baseline.csv.zst" --model "$model" -o "$work/$model.json" > "$work/$model.log"
  if [ "$(digest "$work/$model.json")" != "$(digest "models/$model/reference.json")" ]; then changed=yes; fi
  "$tripline" reference verify "models/$model/reference.json" --public-key models/signing.pub > /dev/null 2>&1 || changed=yes
done <<< "$profiles"

if [ "$changed" = yes ]; then
  if [ -n "${TRIPLINE_SIGNING_KEY:-}" ]; then
    printf '%s\n' "$TRIPLINE_SIGNING_KEY" > "$work/key.pem"
  else
    openssl genpkey -algorithm ed25519 -out "$work/key.pem"
  fi
  openssl pkey -in "$work/key.pem" -pubout -out models/signing.pub
  while read -r model _; do
    "$tripline" reference sign "$work/$model.json" --key "$work/key.pem" -o "models/$model/reference.json"
  done <<< "$profiles"
  chmod 644 models/signing.pub models/*/reference.json
else
  echo "the profiles are as they were"
fi

while read -r model _; do
  card=models/$model/CARD.md
  "$tripline" reference show "models/$model/reference.json" --markdown > "$work/table.md"
  awk -v table="$work/table.md" '
    /^<!-- generated:/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
    /^<!-- end of the generated part -->/ { skip = 0 }
    !skip { print }
  ' "$card" > "$work/card.md"
  cat "$work/card.md" > "$card"
done <<< "$profiles"
