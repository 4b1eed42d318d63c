-- +goose Up

-- Ids are UUIDv7 made by the program. Times are set by the database. "sealed"
-- columns are AEAD ciphertext, "bi" columns are blind indexes. Columns stamped
-- (epoch, version) carry the commit that inserted the row, (upd_epoch,
-- upd_version) the commit that last changed it. Tables that only a fenced commit
-- writes have no foreign keys: each row is inserted from the fence's own row, and
-- the keys cost a fifth of a turn's CPU in the server.

CREATE TABLE customers (
  id          uuid PRIMARY KEY,
  version     bigint NOT NULL DEFAULT 0,
  epoch       bigint NOT NULL DEFAULT 0,
  owner       text NOT NULL DEFAULT '',
  last_seq    bigint NOT NULL DEFAULT 0,
  state       bytea,
  waiting     bigint[] NOT NULL DEFAULT '{}', -- inbound messages of disposition 'turn' that no turn of the customer's own ever held; the fence keeps it
  mode        text NOT NULL DEFAULT 'bot' CHECK (mode IN ('bot', 'held', 'person')),
  held_by     text,
  merged_into uuid REFERENCES customers (id) CHECK (merged_into <> id),
  created_at  timestamptz NOT NULL DEFAULT now(),
  erased_at   timestamptz
) WITH (fillfactor = 80);
CREATE INDEX customers_merged_into ON customers (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE wakes (
  customer_id uuid PRIMARY KEY,
  due         timestamptz NOT NULL,
  owner       text,
  tries       int NOT NULL DEFAULT 0
);
CREATE INDEX wakes_due ON wakes (due);
CREATE INDEX wakes_owner ON wakes (owner) WHERE owner IS NOT NULL;

CREATE TABLE customer_keys (
  customer_id uuid PRIMARY KEY REFERENCES customers (id),
  wrapped_dek bytea NOT NULL,
  kek_version int NOT NULL
);

CREATE TABLE customer_identifiers (
  kind        text NOT NULL CHECK (kind IN ('email', 'phone', 'wa_bsuid')),
  bi          bytea NOT NULL,
  customer_id uuid NOT NULL REFERENCES customers (id),
  sealed      bytea NOT NULL,
  bi_version  int NOT NULL,
  level       smallint NOT NULL CHECK (level BETWEEN 0 AND 4),
  status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked', 'denied')),
  shared      bool NOT NULL DEFAULT false,
  moved_from  uuid,
  pair        bytea, -- phone: blind index of the BSUID it was first seen with
  doubted     bool NOT NULL DEFAULT false, -- its number or BSUID changed: messages count at most L1 until it is verified anew
  first_seen  timestamptz NOT NULL DEFAULT now(),
  last_seen   timestamptz NOT NULL DEFAULT now(),
  verified_at timestamptz,
  PRIMARY KEY (kind, bi)
);
CREATE INDEX customer_identifiers_customer ON customer_identifiers (customer_id);

CREATE TABLE identifier_claims (
  customer_id uuid NOT NULL REFERENCES customers (id),
  kind        text NOT NULL,
  bi          bytea NOT NULL,
  sealed      bytea NOT NULL,
  channel     text NOT NULL,
  external_id text NOT NULL,
  at          timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (customer_id, kind, bi, channel, external_id)
);

CREATE TABLE conversations (
  id            uuid PRIMARY KEY,
  customer_id   uuid NOT NULL,
  status        text NOT NULL CHECK (status IN ('open', 'closed')),
  first_channel text NOT NULL,
  channel       text NOT NULL,
  switches      jsonb NOT NULL DEFAULT '[]',
  opened_at     timestamptz NOT NULL DEFAULT now(),
  closed_at     timestamptz,
  epoch         bigint NOT NULL,
  version       bigint NOT NULL,
  upd_epoch     bigint NOT NULL,
  upd_version   bigint NOT NULL
);
CREATE UNIQUE INDEX conversations_one_open ON conversations (customer_id) WHERE status = 'open';

CREATE TABLE tickets (
  id              uuid PRIMARY KEY,
  reference       text NOT NULL UNIQUE,
  customer_id     uuid NOT NULL,
  conversation_id uuid,
  channel         text NOT NULL,
  thread          text NOT NULL DEFAULT '',
  category        text NOT NULL DEFAULT '',
  priority        text NOT NULL DEFAULT '',
  status          text NOT NULL CHECK (status IN ('open', 'escalated', 'held', 'resolved', 'closed')),
  reason          text,
  also            text[] NOT NULL DEFAULT '{}',
  urgency         text,
  escalated_at    timestamptz,
  resolved_by     text CHECK (resolved_by IN ('customer', 'person')),
  created_at      timestamptz NOT NULL DEFAULT now(),
  updated_at      timestamptz NOT NULL DEFAULT now(),
  epoch           bigint NOT NULL,
  version         bigint NOT NULL,
  upd_epoch       bigint NOT NULL,
  upd_version     bigint NOT NULL
);
CREATE INDEX tickets_customer ON tickets (customer_id);

CREATE TABLE messages (
  customer_id  uuid NOT NULL,
  seq          bigint NOT NULL,
  direction    text NOT NULL CHECK (direction IN ('in', 'out')),
  channel      text NOT NULL CHECK (channel IN ('email', 'whatsapp', 'webform')),
  external_id  text,
  kind         text,
  bi           bytea,
  bi_version   int,
  thread       text NOT NULL DEFAULT '',
  ticket_id    uuid,
  level        smallint NOT NULL CHECK (level BETWEEN 0 AND 4),
  sent_by      text NOT NULL CHECK (sent_by IN ('customer', 'agent', 'person', 'system')),
  subject      bytea,
  body         bytea NOT NULL,
  envelope     bytea, -- sealed: what the channel needs to answer, and what it knows of the sender
  turn         bigint,
  disposition  text CHECK (disposition IN ('turn', 'held', 'ignored')),
  reason       text,
  accepted_at  timestamptz,
  committed_at timestamptz NOT NULL DEFAULT now(),
  epoch        bigint NOT NULL,
  version      bigint NOT NULL,
  PRIMARY KEY (customer_id, seq),
  CHECK ((direction = 'in') = (disposition IS NOT NULL))
);
CREATE UNIQUE INDEX messages_channel_external_id_key ON messages (channel, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE turns (
  customer_id uuid NOT NULL,
  turn        bigint NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('agent', 'person', 'system')),
  inputs      bigint[] NOT NULL,
  inputs_of   uuid NOT NULL,
  state       text NOT NULL CHECK (state IN ('claimed', 'done', 'superseded', 'quarantined', 'abandoned')),
  outcome     text CHECK (outcome IN ('answered', 'escalated', 'person', 'silent')),
  reply_seq   bigint,
  faults      int NOT NULL DEFAULT 0,
  losses      int NOT NULL DEFAULT 0,
  reason      text,
  claimed_at  timestamptz NOT NULL DEFAULT now(),
  ended_at    timestamptz,
  epoch       bigint NOT NULL,
  version     bigint NOT NULL,
  upd_epoch   bigint NOT NULL,
  upd_version bigint NOT NULL,
  PRIMARY KEY (customer_id, turn)
);
CREATE INDEX turns_claimed ON turns (customer_id) WHERE state = 'claimed'; -- at most a few, however long a customer's life
CREATE INDEX turns_inherited ON turns (inputs_of) WHERE inputs_of <> customer_id; -- after a merge; empty otherwise

CREATE TABLE turn_steps (
  customer_id   uuid NOT NULL,
  turn          bigint NOT NULL,
  step          int NOT NULL,
  kind          text NOT NULL CHECK (kind IN ('model', 'tool')),
  name          text NOT NULL,
  request       bytea,
  result        bytea,
  tokens_in     int NOT NULL DEFAULT 0,
  tokens_out    int NOT NULL DEFAULT 0,
  cost_microusd bigint NOT NULL DEFAULT 0,
  at            timestamptz NOT NULL DEFAULT now(),
  epoch         bigint NOT NULL,
  version       bigint NOT NULL,
  PRIMARY KEY (customer_id, turn, step)
);

CREATE TABLE outbox (
  customer_id uuid NOT NULL,
  seq         bigint NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('answer', 'ack', 'person', 'notice')),
  channel     text NOT NULL CHECK (channel IN ('email', 'whatsapp', 'webform')),
  "to"        bytea NOT NULL,
  units       int NOT NULL CONSTRAINT outbox_units CHECK (units BETWEEN 0 AND CASE channel WHEN 'email' THEN 500 ELSE 300 END),
  state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sending', 'unknown', 'accepted', 'sent', 'delivered', 'read',
                                                               'cancelled', 'failed', 'undelivered', 'dead')),
  stop        bool NOT NULL DEFAULT false,
  handled     bool NOT NULL DEFAULT false,
  attempt     int NOT NULL DEFAULT 0,
  claimed_by  text,
  claimed_at  timestamptz,
  claim_ends  timestamptz,
  next_at     timestamptz NOT NULL DEFAULT now(),
  unknown_at  timestamptz,
  resends     int NOT NULL DEFAULT 0,
  refusals    int NOT NULL DEFAULT 0, -- answers of the vendor that might have healed and did not
  draft_id    text,
  provider_id text,
  error       text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  sent_at     timestamptz,
  epoch       bigint NOT NULL,
  version     bigint NOT NULL,
  PRIMARY KEY (customer_id, seq)
);
CREATE INDEX outbox_due ON outbox (channel, next_at) WHERE state = 'pending';
CREATE INDEX outbox_provider ON outbox (channel, provider_id) WHERE provider_id IS NOT NULL; -- look-ups ask whose a vendor's id is
CREATE INDEX outbox_unfinished ON outbox (customer_id, channel, seq) WHERE state IN ('pending', 'sending', 'unknown');

CREATE INDEX outbox_unhandled ON outbox (customer_id) WHERE state IN ('failed', 'undelivered', 'dead') AND NOT handled;

CREATE TABLE events (
  customer_id  uuid NOT NULL,
  version      bigint NOT NULL,
  n            int NOT NULL,
  topic        text NOT NULL CHECK (topic IN ('fte.events', 'fte.escalations')),
  type         text NOT NULL,
  refs         jsonb NOT NULL DEFAULT '{}',
  at           timestamptz NOT NULL DEFAULT now(),
  published_at timestamptz,
  PRIMARY KEY (customer_id, version, n)
);
CREATE INDEX events_unpublished ON events (at) WHERE published_at IS NULL;

CREATE TABLE ownership_log (
  customer_id uuid NOT NULL,
  epoch       bigint NOT NULL,
  owner       text NOT NULL,
  previous    text,
  reason      text NOT NULL CHECK (reason IN ('first', 'idle', 'rebalance', 'drain', 'dead', 'merge', 'operator')),
  at          timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (customer_id, epoch)
);

CREATE TABLE blobs (
  id          uuid PRIMARY KEY,
  customer_id uuid,
  name        text NOT NULL,
  type        text NOT NULL,
  size        bigint NOT NULL,
  body        bytea NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now()
);

-- The fence as a function, for writes that need a transaction of several
-- statements: it raises where form (a), one statement, would match no row. Its
-- callers never test version or epoch again.
-- +goose StatementBegin
CREATE FUNCTION fence(customer uuid, loaded bigint, e bigint, me text, n bigint, last bigint, working bytea, next_mode text, holder text,
                      waits bigint[], takes bigint[])
RETURNS TABLE (id uuid, version bigint, epoch bigint, was bigint, previous text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  SELECT c.epoch, c.owner INTO was, previous FROM customers c WHERE c.id = customer FOR NO KEY UPDATE;
  RETURN QUERY
  UPDATE customers c
  SET version = c.version + 1, epoch = e, owner = me, last_seq = c.last_seq + n, state = coalesce(working, c.state),
      mode = coalesce(next_mode, c.mode), held_by = CASE WHEN next_mode IS NULL THEN c.held_by ELSE holder END,
      waiting = ARRAY(SELECT w FROM unnest(c.waiting || waits) AS w WHERE w <> ALL (takes))
  WHERE c.id = customer AND c.version = loaded AND c.epoch <= e AND (n = 0 OR c.last_seq = last)
  RETURNING c.id, c.version, c.epoch, was, previous;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer % is not at version %', customer, loaded USING ERRCODE = 'FT001';
  END IF;
END
$$;
-- +goose StatementEnd

-- Ends the statement it is called in, with the code.
-- +goose StatementBegin
CREATE FUNCTION refuse(code text, why text) RETURNS bool
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%', why USING ERRCODE = code;
END
$$;
-- +goose StatementEnd

-- What became of each inbound message: exactly one row for each. The latest turn
-- that holds the seq decides; after a merge the survivor's is later than any of
-- the loser's own.
CREATE VIEW message_outcomes AS
WITH holding AS (
  SELECT DISTINCT ON (customer_id, seq) *
  FROM (SELECT t.customer_id, i.seq, t.customer_id AS turn_customer, t.turn, t.state, t.outcome, t.reply_seq,
               i.seq = t.inputs[cardinality(t.inputs)] AS last
        FROM turns t, unnest(t.inputs) AS i (seq)
        WHERE t.inputs_of = t.customer_id
        UNION ALL -- apart, so that one customer's outcomes are read by an index
        SELECT t.inputs_of, i.seq, t.customer_id, t.turn, t.state, t.outcome, t.reply_seq,
               i.seq = t.inputs[cardinality(t.inputs)]
        FROM turns t, unnest(t.inputs) AS i (seq)
        WHERE t.inputs_of <> t.customer_id) AS held
  ORDER BY customer_id, seq, (turn_customer <> customer_id) DESC, turn DESC
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

-- The machinery.

CREATE TABLE members (
  id         text PRIMARY KEY,
  cluster    text NOT NULL,
  name       text NOT NULL,
  generation bigint NOT NULL,
  host       text NOT NULL,
  port       int NOT NULL,
  kinds      text[] NOT NULL DEFAULT '{}',
  roles      text[] NOT NULL DEFAULT '{}',
  build      text NOT NULL DEFAULT '',
  weight     double precision NOT NULL DEFAULT 1 CHECK (weight >= 0),
  cordoned   bool NOT NULL DEFAULT false,
  state      text NOT NULL CHECK (state IN ('joining', 'active', 'draining', 'left', 'dead')),
  lease_ends timestamptz NOT NULL,
  view       bigint NOT NULL DEFAULT 0,
  joined_at  timestamptz NOT NULL DEFAULT now(),
  ended_at   timestamptz,
  ended_why  text,
  UNIQUE (cluster, name, generation)
);

CREATE TABLE suspicions (
  suspect      text NOT NULL,
  accuser      text NOT NULL,
  refreshed_at timestamptz NOT NULL DEFAULT now(),
  why          text NOT NULL,
  PRIMARY KEY (suspect, accuser)
);

CREATE TABLE cluster_view (
  cluster text PRIMARY KEY,
  view    bigint NOT NULL DEFAULT 0
);

CREATE TABLE mailboxes (
  id         text PRIMARY KEY,
  version    bigint NOT NULL DEFAULT 0,
  epoch      bigint NOT NULL DEFAULT 0,
  owner      text NOT NULL DEFAULT '',
  cursor     numeric,
  watch_ends timestamptz,
  mark       timestamptz,
  accept_after timestamptz
);

CREATE TABLE numbers (
  id      text PRIMARY KEY,
  version bigint NOT NULL DEFAULT 0,
  epoch   bigint NOT NULL DEFAULT 0,
  owner   text NOT NULL DEFAULT '',
  mark    timestamptz
);

CREATE TABLE dead_letters (
  id          uuid PRIMARY KEY,
  topic       text NOT NULL,
  partition   int NOT NULL,
  "offset"    bigint NOT NULL,
  channel     text,
  external_id text,
  bi          bytea,
  state       text NOT NULL CHECK (state IN ('parked', 'dead', 'replayed', 'purged')),
  reason      text NOT NULL,
  error       text,
  tries       int NOT NULL DEFAULT 0,
  next_at     timestamptz NOT NULL DEFAULT now(),
  record      bytea,
  first_at    timestamptz NOT NULL DEFAULT now(),
  last_at     timestamptz NOT NULL DEFAULT now(),
  by          text,
  UNIQUE (topic, partition, "offset")
);
CREATE INDEX dead_letters_parked ON dead_letters (topic, bi) WHERE state = 'parked';
CREATE INDEX dead_letters_external_id ON dead_letters (channel, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE key_check (
  name text PRIMARY KEY,
  made bytea NOT NULL
);

CREATE TABLE switches (
  channel text PRIMARY KEY, -- '' is the whole agent
  agent   bool NOT NULL,
  by      text NOT NULL,
  at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE suppressions (
  kind       text NOT NULL,
  bi         bytea NOT NULL,
  bi_version int NOT NULL,
  channel    text NOT NULL,
  reason     text NOT NULL CHECK (reason IN ('opt_out', 'undeliverable')),
  at         timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (channel, kind, bi)
);

CREATE TABLE rates (
  bucket text NOT NULL,
  starts timestamptz NOT NULL,
  n      int NOT NULL,
  PRIMARY KEY (bucket, starts)
);

CREATE TABLE spend (
  day           date NOT NULL,
  kind          text NOT NULL,
  reserved_microusd bigint NOT NULL DEFAULT 0,
  settled_microusd  bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (day, kind)
);

CREATE TABLE llm_calls (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id   uuid NOT NULL,
  turn          bigint NOT NULL,
  step          int NOT NULL,
  attempt       int NOT NULL,
  model         text NOT NULL,
  input         int NOT NULL DEFAULT 0,
  cached        int NOT NULL DEFAULT 0,
  cache_write   int NOT NULL DEFAULT 0,
  output        int NOT NULL DEFAULT 0,
  reasoning     int NOT NULL DEFAULT 0,
  cost_microusd bigint NOT NULL DEFAULT 0,
  latency_ms    int NOT NULL DEFAULT 0,
  status        text NOT NULL,
  at            timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audit_log (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at     timestamptz NOT NULL DEFAULT now(),
  who    text NOT NULL,
  what   text NOT NULL,
  refs   jsonb NOT NULL DEFAULT '{}',
  reason text NOT NULL DEFAULT '',
  prev   bytea,
  hash   bytea
);

CREATE TABLE link_codes (
  id          uuid PRIMARY KEY,
  kind        text NOT NULL CHECK (kind IN ('wa_me', 'magic_link', 'otp')),
  hash        bytea NOT NULL,
  customer_id uuid NOT NULL REFERENCES customers (id),
  address     bytea,
  tries       int NOT NULL DEFAULT 0,
  expires_at  timestamptz NOT NULL,
  used_at     timestamptz,
  created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX link_codes_hash ON link_codes (kind, hash);

CREATE TABLE merge_denylist (
  a  uuid NOT NULL,
  b  uuid NOT NULL,
  by text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (a, b),
  CHECK (a < b)
);

CREATE TABLE erasures (
  id          uuid PRIMARY KEY,
  customer_id uuid NOT NULL,
  by          text NOT NULL,
  reason      text NOT NULL,
  at          timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reports (
  day  date PRIMARY KEY,
  body jsonb NOT NULL,
  at   timestamptz NOT NULL DEFAULT now()
);

-- Knowledge is authored by operators; it is not sealed. Embeddings lie in a table
-- of their own that exists only where the vector extension does.
CREATE TABLE knowledge_documents (
  id         uuid PRIMARY KEY,
  path       text NOT NULL,
  version    int NOT NULL,
  title      text NOT NULL,
  category   text NOT NULL DEFAULT '',
  sha256     bytea NOT NULL,
  current    bool NOT NULL DEFAULT true,
  at         timestamptz NOT NULL DEFAULT now(),
  UNIQUE (path, version)
);
CREATE UNIQUE INDEX knowledge_documents_current ON knowledge_documents (path) WHERE current;

CREATE TABLE knowledge_chunks (
  id          uuid PRIMARY KEY,
  document_id uuid NOT NULL REFERENCES knowledge_documents (id),
  n           int NOT NULL,
  heading     text NOT NULL,
  starts      int NOT NULL,
  ends        int NOT NULL,
  text        text NOT NULL,
  tsv         tsvector NOT NULL,
  UNIQUE (document_id, n)
);
CREATE INDEX knowledge_chunks_tsv ON knowledge_chunks USING gin (tsv);
