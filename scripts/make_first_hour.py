#!/usr/bin/env python3
"""Writes tests/data/first_hour: the files of docs/your-own-log.md, as pandas, Polars and scikit-learn write them.

Usage: make_first_hour.py BASELINE.csv.zst EVENTS.jsonl.zst OUT   (needs pandas, pyarrow, polars, scikit-learn; zstd)
"""
import io
import json
import subprocess
import sys

import pandas as pd
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROWS, EVENTS = 1500, 300
NUMBERS, WORDS = ["age", "education_num", "hours_per_week"], ["workclass", "marital_status", "sex"]


def unpack(path):
    return subprocess.run(["zstdcat", path], check=True, capture_output=True).stdout


def main(baseline, events, out):
    rows = pd.read_csv(io.BytesIO(unpack(baseline)), nrows=2 * ROWS)
    label = (rows["prediction"] > 0.5).astype(int)
    frame = rows[NUMBERS + WORDS]
    model = make_pipeline(
        make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(handle_unknown="ignore"), WORDS)),
        LogisticRegression(max_iter=500),
    ).fit(frame, label)
    train = frame.assign(prediction=model.predict_proba(frame)[:, 1].round(6), label=label)
    # A split leaves an index that is no range; pandas writes it into the file.
    train = train.sample(ROWS, random_state=1)
    train.to_csv(f"{out}/train_pandas.csv")
    train.to_parquet(f"{out}/train_pandas.parquet", compression="zstd")
    for packing in ("lz4", "brotli"):
        train.head(150).to_parquet(f"{out}/train_{packing}.parquet", compression=packing)

    calls = [json.loads(line) for line in unpack(events).splitlines()[:EVENTS]]
    asked = pd.DataFrame([call["features"] for call in calls])[NUMBERS + WORDS]
    score = model.predict_proba(asked)
    times = pd.to_datetime([call["timestamp"] for call in calls])
    log = asked.assign(timestamp=times, client_ip=[call["source_ip"] for call in calls], score=score[:, 1].round(6))
    log.to_json(f"{out}/log_pandas.jsonl", orient="records", lines=True)
    naive = log.assign(timestamp=times.tz_localize(None))
    naive.to_csv(f"{out}/log_pandas.csv", index=False)
    pl.from_pandas(naive).write_ndjson(f"{out}/log_polars.ndjson")
    pl.from_pandas(naive).write_parquet(f"{out}/log_polars.parquet")
    with open(f"{out}/log_sklearn.jsonl", "w") as file:
        for nth, call in enumerate(calls):
            body = json.loads(asked.iloc[[nth]].to_json(orient="split"))
            proba = [[round(p, 6) for p in score[nth].tolist()]]
            print(json.dumps({"time": call["timestamp"], "ip": call["source_ip"], "request": body, "predict_proba": proba}), file=file)


if __name__ == "__main__":
    main(*sys.argv[1:4])
