package persistence

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fte/support"

	"github.com/jackc/pgx/v5"
)

// statement is the SQL of one commit: parts that each depend on the part called
// fence. A part is there only when the commit needs it, so that there are a few
// dozen texts in all, and pgx prepares each once. Inserts select from fence;
// updates and deletes bind by (SELECT id FROM fence) and never join it: Postgres
// 18 fails where such a row changes meanwhile.
type statement struct {
	c     support.Commit
	seal  sealer
	keys  *Keys
	state []byte // sealed

	fence  []string // the parts before every other
	parts  []string
	checks []string // each NULL or an error; the last select's list
	args   []any
}

// statement prepares a commit: checks it and seals what is sealed.
func (c *Customers) statement(ctx context.Context, commit support.Commit) (*statement, error) {
	if err := check(&commit); err != nil {
		return nil, err
	}
	seal, err := c.sealer(ctx, commit.Customer)
	if err != nil {
		return nil, unavailable(err)
	}
	s := &statement{c: commit, seal: seal, keys: c.keys}
	if s.state, err = seal.seal("customers", "state", "state", commit.State); err != nil {
		return nil, err
	}
	return s, errors.Join(s.writes()...)
}

// check refuses what cannot be meant, and folds what is inserted and updated in
// one commit into its insert: the parts of a statement do not see each other.
func check(c *support.Commit) error {
	for i := range c.Messages {
		want := c.LastSeq + int64(i) + 1
		if c.Messages[i].Seq != want {
			return fmt.Errorf("message %d of the commit has seq %d, want %d", i, c.Messages[i].Seq, want)
		}
	}
	if len(c.Claims) > 0 && len(c.Messages) == 0 {
		return errors.New("claims without the message that makes them")
	}
	if c.Undo != 0 && (c.StopAgent || c.StopAll) {
		return errors.New("undo and stop in one commit")
	}
	c.Turns = fold(c.Turns, func(t support.TurnWrite) (int64, bool) { return t.Turn.Turn, t.Insert },
		func(t *support.TurnWrite) { t.Insert = true })
	c.Tickets = fold(c.Tickets, func(t support.TicketWrite) (string, bool) { return t.ID, t.Insert },
		func(t *support.TicketWrite) { t.Insert = true })
	return nil
}

// fold keeps the last write of each key, as an insert if one of them was.
func fold[T any, K comparable](writes []T, key func(T) (K, bool), insert func(*T)) []T {
	if len(writes) < 2 {
		return writes
	}
	var out []T
	at := map[K]int{}
	for _, w := range writes {
		k, inserts := key(w)
		i, seen := at[k]
		if !seen {
			at[k] = len(out)
			out = append(out, w)
			continue
		}
		if _, before := key(out[i]); before || inserts {
			insert(&w)
		}
		out[i] = w
	}
	return out
}

// arg adds an argument and returns its placeholder with a cast.
func (s *statement) arg(v any, cast string) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args)) + "::" + cast
}

func (s *statement) part(name, sql string) { s.parts = append(s.parts, name+" AS ("+sql+")") }

// waits are the seqs that begin to wait for a turn with this commit, takes those
// that stop: whatever a turn of the customer's own holds from now on. Neither is
// nil.
func (s *statement) waits() (waits, takes []int64) {
	waits, takes = []int64{}, []int64{}
	for _, m := range s.c.Messages {
		if m.Disposition == support.ForTurn {
			waits = append(waits, m.Seq)
		}
	}
	for _, t := range s.c.Turns {
		if t.Insert && (t.InputsOf == "" || t.InputsOf == s.c.Customer) {
			takes = append(takes, t.Inputs...)
		}
	}
	return waits, takes
}

// fenceInline is form (a): the fenced update is the first part. before reads
// what it overwrites, from the same snapshot: a row that changed in between has
// another version and does not match.
func (s *statement) fenceInline() {
	id, at, e := s.arg(string(s.c.Customer), "uuid"), s.arg(s.c.Version, "bigint"), s.arg(s.c.Epoch, "bigint")
	me, n, last := s.arg(s.c.Owner, "text"), s.arg(int64(len(s.c.Messages)), "bigint"), s.arg(s.c.LastSeq, "bigint")
	mode, holder := s.arg(null(string(s.c.Mode)), "text"), s.arg(null(s.c.HeldBy), "text")
	queue := ""
	if waits, takes := s.waits(); len(waits)+len(takes) > 0 {
		queue = `, waiting = ARRAY(SELECT w FROM unnest(waiting || ` + s.arg(waits, "bigint[]") + `) AS w WHERE w <> ALL (` + s.arg(takes, "bigint[]") + `))`
	}
	s.fence = []string{
		"before AS (SELECT epoch, owner FROM customers WHERE id = " + id + ")",
		`fence AS (
  UPDATE customers
  SET version = version + 1, epoch = ` + e + `, owner = ` + me + `, last_seq = last_seq + ` + n + `, state = coalesce(` + s.arg(s.state, "bytea") + `, state),
      mode = coalesce(` + mode + `, mode), held_by = CASE WHEN ` + mode + ` IS NULL THEN held_by ELSE ` + holder + ` END` + queue + `
  WHERE id = ` + id + ` AND version = ` + at + ` AND epoch <= ` + e + ` AND (` + n + ` = 0 OR last_seq = ` + last + `)
  RETURNING id, version, epoch)`,
	}
	if support.BugNoVersion.Planted() {
		s.fence[1] = strings.Replace(s.fence[1], "AND version = "+at, "AND "+at+" IS NOT NULL", 1)
	}
}

// fenceCall is form (b): the fence is taken in a statement of its own, which
// raises; what follows only copies what it returned.
func (s *statement) fenceCall(ctx context.Context, tx pgx.Tx) error {
	var id, previous string
	var version, epoch, was int64
	waits, takes := s.waits()
	if support.BugLateVersion.Planted() {
		return s.fenceLate(ctx, tx)
	}
	err := tx.QueryRow(ctx, `SELECT id, version, epoch, was, previous FROM fence($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		string(s.c.Customer), s.c.Version, s.c.Epoch, s.c.Owner, int64(len(s.c.Messages)), s.c.LastSeq, s.state,
		null(string(s.c.Mode)), null(s.c.HeldBy), waits, takes).Scan(&id, &version, &epoch, &was, &previous)
	if err != nil {
		return err
	}
	s.fence = []string{
		"before AS (SELECT " + s.arg(was, "bigint") + " AS epoch, " + s.arg(previous, "text") + " AS owner)",
		"fence AS (SELECT " + s.arg(id, "uuid") + " AS id, " + s.arg(version, "bigint") + " AS version, " + s.arg(epoch, "bigint") + " AS epoch)",
	}
	return nil
}

// fenceLate is the mistake that form (b) warns of, for a build that plants it: the
// update does not raise, and the version is tested again in a later statement,
// where that of another activation, which loaded the same row, may stand by then.
func (s *statement) fenceLate(ctx context.Context, tx pgx.Tx) error {
	late := &statement{c: s.c, state: s.state}
	late.fenceInline()
	late.fence[0] = "was AS (SELECT epoch AS was, owner AS previous FROM customers WHERE id = $1)"
	was, previous := s.c.Epoch, ""
	if err := tx.QueryRow(ctx, "WITH "+strings.Join(late.fence, ", ")+" SELECT was, previous FROM was, fence", late.args...).Scan(&was, &previous); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	s.fence = []string{
		"before AS (SELECT " + s.arg(was, "bigint") + " AS epoch, " + s.arg(previous, "text") + " AS owner)",
		"fence AS (SELECT id, version, epoch FROM customers WHERE id = " + s.arg(string(s.c.Customer), "uuid") +
			" AND version = " + s.arg(s.c.Version+1, "bigint") + " AND epoch = " + s.arg(s.c.Epoch, "bigint") + ")",
	}
	return nil
}

// whole is the statement's text and arguments, once fenceInline or fenceCall ran.
func (s *statement) whole() (string, []any) {
	stopped, fine := "NULL::json", "NULL::bool"
	if s.c.StopAgent || s.c.StopAll {
		stopped = "(SELECT json_agg(stopped ORDER BY seq) FROM stopped)"
	}
	if len(s.checks) > 0 {
		fine = strings.Join(s.checks, " AND ")
	}
	var sql strings.Builder
	sql.WriteString("WITH ")
	sql.WriteString(strings.Join(append(s.fence, s.parts...), ",\n"))
	sql.WriteString("\nSELECT fence.version, now(), " + stopped + ", " + fine + " FROM fence")
	return sql.String(), s.args
}

// writes adds every part but the fence.
func (s *statement) writes() []error {
	s.ownership()
	errs := []error{s.messages(), s.claims(), s.turns(), s.steps(), s.outbox(), s.tickets(), s.conversation(), s.events()}
	s.wake()
	s.sends()
	return errs
}

// ownership leaves evidence of a take-over. Where the commit does not say why,
// the state of the previous owner does.
func (s *statement) ownership() {
	reason := ""
	if s.c.Ownership != nil {
		reason = s.c.Ownership.Reason
	}
	s.part("owned", `
  INSERT INTO ownership_log (customer_id, epoch, owner, previous, reason)
  SELECT f.id, f.epoch, `+s.arg(s.c.Owner, "text")+`, nullif(b.owner, ''), coalesce(`+s.arg(null(reason), "text")+`, CASE
           WHEN b.owner = '' THEN 'first'
           ELSE (SELECT CASE m.state WHEN 'dead' THEN 'dead' WHEN 'active' THEN 'idle' ELSE 'drain' END FROM members m WHERE m.id = b.owner)
         END, 'idle')
  FROM fence f, before b
  WHERE b.epoch < f.epoch`)
}

func (s *statement) wake() {
	switch w := s.c.Wake; {
	case w == nil:
	case w.Clear:
		s.part("wake", `DELETE FROM wakes WHERE customer_id = (SELECT id FROM fence)`)
	default:
		owner := ""
		if w.Owned {
			owner = s.c.Owner
		}
		s.part("wake", `
  INSERT INTO wakes (customer_id, due, owner)
  SELECT f.id, now() + `+s.arg(w.In.Microseconds(), "bigint")+` * interval '1 microsecond', `+s.arg(null(owner), "text")+` FROM fence f
  ON CONFLICT (customer_id) DO UPDATE SET due = excluded.due, owner = excluded.owner, tries = 0`)
	}
}

// sends changes rows of the outbox that are there already. A row can change
// under another's hand meanwhile: each update looks at what it finds then.
func (s *statement) sends() {
	if len(s.c.Handled) > 0 {
		s.part("handled", `
  UPDATE outbox SET handled = true
  WHERE customer_id = (SELECT id FROM fence) AND seq = ANY (`+s.arg(s.c.Handled, "bigint[]")+`) AND state IN ('failed', 'undelivered', 'dead')`)
	}
	if s.c.StopAgent || s.c.StopAll {
		kinds := ` AND kind IN ('answer', 'ack')`
		if s.c.StopAll {
			kinds = ``
		}
		if support.BugKeepPending.Planted() {
			kinds += ` AND state <> 'pending'`
		}
		s.part("stopped", `
  UPDATE outbox SET stop = true, state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END
  WHERE customer_id = (SELECT id FROM fence)`+kinds+` AND state IN ('pending', 'sending', 'unknown')
  RETURNING seq, kind, channel, units, state, attempt, claimed_by, resends, provider_id, created_at, claimed_at`)
	}
	if s.c.Undo != 0 {
		s.part("undone", `
  UPDATE outbox SET state = 'cancelled'
  WHERE customer_id = (SELECT id FROM fence) AND seq = `+s.arg(s.c.Undo, "bigint")+` AND state = 'pending'
  RETURNING seq`)
		s.must(`EXISTS (SELECT FROM undone)`, codeTooLate, "the row is not pending any more")
	}
}

// must ends the whole statement where the fence matched and the condition does
// not hold.
func (s *statement) must(condition, code, why string) {
	s.checks = append(s.checks, `CASE WHEN fence.id IS NULL OR `+condition+` THEN NULL ELSE refuse('`+code+`', '`+why+`') END`)
}

// null is nil for the empty text: such columns are NULL, not empty.
func null(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// moment is nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
