CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$;
CREATE FUNCTION audit_erasure_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM audit_erasures WHERE seq = OLD.seq) THEN
        RAISE EXCEPTION 'the audit is append-only; an erasure must be recorded first';
    END IF;
    RETURN OLD;
END $$;
CREATE FUNCTION audit_forward_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq < OLD.seq THEN RAISE EXCEPTION 'the audit is append-only'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_entries_guard BEFORE UPDATE OR DELETE ON audit_entries FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entries_no_truncate BEFORE TRUNCATE ON audit_entries FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_details_no_update BEFORE UPDATE ON audit_details FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_details_no_delete BEFORE DELETE ON audit_details FOR EACH ROW EXECUTE FUNCTION audit_erasure_only();
CREATE TRIGGER audit_details_no_truncate BEFORE TRUNCATE ON audit_details FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_erasures_guard BEFORE UPDATE OR DELETE ON audit_erasures FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_erasures_no_truncate BEFORE TRUNCATE ON audit_erasures FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head FOR EACH ROW EXECUTE FUNCTION audit_forward_only();
CREATE TRIGGER audit_head_no_truncate BEFORE TRUNCATE ON audit_head FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
