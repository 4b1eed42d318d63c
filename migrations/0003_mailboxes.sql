-- +goose Up

-- The RFC 5322 Message-ID under which Gmail sent a reply: it replaces ours, and a
-- bounce that does not carry our key names that one.
ALTER TABLE outbox ADD COLUMN message_id text;
CREATE INDEX outbox_message_id ON outbox (message_id) WHERE message_id IS NOT NULL;
