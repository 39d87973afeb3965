-- Times are microseconds since the Unix epoch; 0 means never. Texts that name a caller may be sealed (a pseudonym under a key).
CREATE TABLE cases (
    id TEXT NOT NULL PRIMARY KEY,
    model TEXT NOT NULL,
    scope TEXT NOT NULL,
    actor TEXT NOT NULL,
    verdict TEXT NOT NULL,
    family TEXT NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    severity BIGINT NOT NULL,
    severity_fixed BIGINT NOT NULL DEFAULT 0,
    status TEXT NOT NULL,
    owner TEXT NOT NULL DEFAULT '',
    feedback TEXT NOT NULL DEFAULT '',
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    verdicts BIGINT NOT NULL,
    queries BIGINT NOT NULL,
    members BIGINT NOT NULL,
    related TEXT NOT NULL DEFAULT '',
    dismissed_family TEXT NOT NULL DEFAULT '',
    dismissed_severity BIGINT NOT NULL DEFAULT 0,
    dismissed_until BIGINT NOT NULL DEFAULT 0,
    changed_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX cases_last_seen ON cases (last_seen, id);
CREATE INDEX cases_severity ON cases (severity, last_seen, id);
CREATE INDEX cases_first_seen ON cases (first_seen, id);
CREATE INDEX cases_status ON cases (status, last_seen, id);
-- The engine's incidents, and the case that each belongs to.
CREATE TABLE case_incidents (
    model TEXT NOT NULL,
    incident TEXT NOT NULL,
    case_id TEXT NOT NULL,
    PRIMARY KEY (model, incident)
);
-- The latest case of each actor on each model.
CREATE TABLE case_actors (
    model TEXT NOT NULL,
    actor TEXT NOT NULL,
    case_id TEXT NOT NULL,
    PRIMARY KEY (model, actor)
);
CREATE TABLE case_members (
    case_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    prefix TEXT NOT NULL,
    place TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    verdicts BIGINT NOT NULL,
    PRIMARY KEY (case_id, kind, value)
);
CREATE INDEX case_members_value ON case_members (kind, value);
CREATE INDEX case_members_prefix ON case_members (prefix);
CREATE INDEX case_members_place ON case_members (place);
-- Every verdict that came, with the line as it was.
CREATE TABLE verdicts (
    id TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL,
    model TEXT NOT NULL,
    at BIGINT NOT NULL,
    scope TEXT NOT NULL,
    verdict TEXT NOT NULL,
    family TEXT NOT NULL,
    severity BIGINT NOT NULL,
    suppressed_by TEXT NOT NULL DEFAULT '',
    stored_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX verdicts_case ON verdicts (case_id, at, id);
CREATE INDEX verdicts_at ON verdicts (at, id);
CREATE TABLE case_events (
    id TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    who TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX case_events_case ON case_events (case_id, at, id);
CREATE TABLE case_queries (
    case_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition_number BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    row_number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (case_id, topic, partition_number, log_offset, row_number)
);
CREATE TABLE suppressions (
    id TEXT NOT NULL PRIMARY KEY,
    mode TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    model TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL DEFAULT 0,
    hits BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE saved_filters (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    filter TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
-- Changes that were asked for with a key, so that asking again changes nothing.
CREATE TABLE idempotency_keys (
    who TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (who, name)
);
