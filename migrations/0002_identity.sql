-- +goose Up

-- What proves an address, and which sessions are proved.

-- The hash alone does not name a code of six digits.
DROP INDEX link_codes_hash;
ALTER TABLE link_codes
  ADD COLUMN ticket_id    uuid,  -- of the session that asked
  ADD COLUMN address_kind text,  -- otp, magic_link: of the address it was sent to; wa_me: of the one that used it
  ADD COLUMN address_bi   bytea;
CREATE UNIQUE INDEX link_codes_hash ON link_codes (kind, hash) WHERE kind <> 'otp';
CREATE INDEX link_codes_ticket ON link_codes (ticket_id) WHERE kind = 'otp';
CREATE INDEX link_codes_sends ON link_codes (address_bi, created_at) WHERE kind = 'otp';

-- Tickets whose session proved its identity: their messages, of whatever level,
-- are history of the customer from then on.
CREATE TABLE session_proofs (
  ticket_id   uuid PRIMARY KEY,
  customer_id uuid NOT NULL, -- who proved it; its messages may lie with one who was merged
  level       smallint NOT NULL CHECK (level BETWEEN 0 AND 4),
  at          timestamptz NOT NULL DEFAULT now()
);

-- After a merge tickets are the survivor's.
ALTER TABLE tickets ADD COLUMN moved_from uuid;

-- What became of each inbound message, now over several merges in a row: of the
-- turns of survivors the latest decides, by the one clock there is.
CREATE OR REPLACE VIEW message_outcomes AS
WITH holding AS (
  SELECT DISTINCT ON (customer_id, seq) *
  FROM (SELECT t.customer_id, i.seq, t.customer_id AS turn_customer, t.turn, t.state, t.outcome, t.reply_seq,
               i.seq = t.inputs[cardinality(t.inputs)] AS last, NULL::timestamptz AS inherited
        FROM turns t, unnest(t.inputs) AS i (seq)
        WHERE t.inputs_of = t.customer_id
        UNION ALL -- apart, so that one customer's outcomes are read by an index
        SELECT t.inputs_of, i.seq, t.customer_id, t.turn, t.state, t.outcome, t.reply_seq,
               i.seq = t.inputs[cardinality(t.inputs)], t.claimed_at
        FROM turns t, unnest(t.inputs) AS i (seq)
        WHERE t.inputs_of <> t.customer_id) AS held
  ORDER BY customer_id, seq, inherited DESC NULLS LAST, turn DESC
)
SELECT m.customer_id, m.seq,
       CASE
         WHEN h.turn IS NULL THEN CASE m.disposition WHEN 'turn' THEN 'open' ELSE m.disposition END
         WHEN h.state IN ('claimed', 'superseded') THEN 'open'
         WHEN h.state = 'quarantined' THEN 'quarantined'
         WHEN h.state = 'abandoned' OR o.state = 'cancelled' THEN CASE WHEN h.outcome = 'silent' THEN 'silent' ELSE 'held' END
         WHEN o.state IN ('failed', 'undelivered', 'dead') OR h.outcome = 'escalated' THEN 'escalated'
         WHEN h.outcome = 'silent' THEN 'silent'
         WHEN h.outcome = 'person' THEN 'person'
         WHEN h.last THEN 'answered'
         ELSE 'coalesced'
       END AS outcome,
       h.turn, h.reply_seq,
       CASE WHEN h.reply_seq IS NOT NULL THEN h.turn_customer::text || ':' || h.reply_seq END AS reply_key,
       o.state AS reply_state
FROM messages m
LEFT JOIN holding h ON h.customer_id = m.customer_id AND h.seq = m.seq
LEFT JOIN outbox o ON o.customer_id = h.turn_customer AND o.seq = h.reply_seq
WHERE m.direction = 'in';
