-- The audit chain. An entry never changes. What it says about a subject stands apart, because a person may ask for its erasure: the chain
-- covers a salted hash of it.
CREATE TABLE audit_entries (
    seq BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    digest TEXT NOT NULL,
    key_id TEXT NOT NULL,
    previous TEXT NOT NULL,
    mac TEXT NOT NULL
);
CREATE INDEX audit_entries_at ON audit_entries (at);
CREATE TABLE audit_details (
    seq BIGINT NOT NULL PRIMARY KEY,
    salt TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_details_subject ON audit_details (subject);
-- Which details were erased, and the entry that says why.
CREATE TABLE audit_erasures (
    seq BIGINT NOT NULL PRIMARY KEY,
    reason_seq BIGINT NOT NULL
);
-- The end of the chain. Its row is the lock of whoever appends.
CREATE TABLE audit_head (
    id BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    mac TEXT NOT NULL
);
INSERT INTO audit_head (id, seq, mac) VALUES (1, 0, '');
