package persistence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Member is one incarnation of a process of the cluster, a row of members.
type Member struct {
	ID          string // system id, unique over all incarnations
	Cluster     string
	Name        string
	Generation  int64 // counts the incarnations of a name, from 1
	Host        string
	Port        int
	Kinds       []string
	Roles       []string
	Build       string
	Weight      float64
	Cordoned    bool
	State       string        // joining, active, draining, left or dead
	LeaseEnds   time.Time     // by the database's clock: compare it with another LeaseEnds only
	LeaseLeft   time.Duration // of the lease when the row was read, by the database's clock
	View        int64         // the view this member held at its last renewal
	JoinedAt    time.Time
	EndedAt     time.Time // zero while it lives
	EndedWhy    string
	SuspectedBy []string // system ids of active members whose suspicion is fresh
}

// Members is the table of leases. Renewals want a pool of their own, of two
// connections: one that waits behind other work comes too late.
type Members struct{ pool *pgxpool.Pool }

// NewMembers returns the table of leases.
func NewMembers(pool *pgxpool.Pool) *Members { return &Members{pool: pool} }

// memberColumns are those of a row m, with its fresh suspicions.
const memberColumns = `
	m.id, m.cluster, m.name, m.generation, m.host, m.port, m.kinds, m.roles, m.build, m.weight, m.cordoned, m.state,
	m.lease_ends, extract(epoch FROM m.lease_ends - clock_timestamp())::float8, m.view, m.joined_at, m.ended_at, coalesce(m.ended_why, ''),
	ARRAY(SELECT s.accuser
	      FROM suspicions s
	      JOIN members a ON a.id = s.accuser AND a.cluster = m.cluster AND a.state = 'active'
	      WHERE s.suspect = m.id AND s.refreshed_at > clock_timestamp() - interval '2 seconds'
	      ORDER BY s.accuser)`

func scanMember(row pgx.CollectableRow) (Member, error) { return scanMemberAfter(row) }

// scanMemberAfter scans memberColumns that follow others.
func scanMemberAfter(row pgx.CollectableRow, before ...any) (Member, error) {
	var m Member
	var left float64
	var ended *time.Time
	err := row.Scan(append(before, &m.ID, &m.Cluster, &m.Name, &m.Generation, &m.Host, &m.Port, &m.Kinds, &m.Roles, &m.Build, &m.Weight,
		&m.Cordoned, &m.State, &m.LeaseEnds, &left, &m.View, &m.JoinedAt, &ended, &m.EndedWhy, &m.SuspectedBy)...)
	m.LeaseLeft = time.Duration(left * float64(time.Second))
	if ended != nil {
		m.EndedAt = *ended
	}
	return m, err
}

// changing runs f in a transaction that holds the cluster's view, and raises the
// view if f reports a change. Without that lock two members declare each other
// dead; with it as the first statement, everything f reads is newer than the lock.
func (s *Members) changing(ctx context.Context, cluster string, f func(tx pgx.Tx) (bool, error)) (bool, error) {
	changed := false
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		changed = false
		var view int64
		lock := func() error {
			return tx.QueryRow(ctx, `SELECT view FROM cluster_view WHERE cluster = $1 FOR UPDATE`, cluster).Scan(&view)
		}
		err := lock()
		if errors.Is(err, pgx.ErrNoRows) { // the first member of a cluster
			if _, err = tx.Exec(ctx, `INSERT INTO cluster_view (cluster) VALUES ($1) ON CONFLICT DO NOTHING`, cluster); err == nil {
				err = lock()
			}
		}
		if err != nil {
			return fmt.Errorf("lock the view: %w", err)
		}
		if changed, err = f(tx); err != nil || !changed {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE cluster_view SET view = view + 1 WHERE cluster = $1`, cluster)
		return err
	})
	if err != nil {
		return false, err
	}
	return changed, nil
}

// endSuspicions forgets what a member that ended suspects and is suspected of.
func endSuspicions(ctx context.Context, tx pgx.Tx, ids []string) error {
	_, err := tx.Exec(ctx, `DELETE FROM suspicions WHERE suspect = ANY($1) OR accuser = ANY($1)`, ids)
	return err
}

// Join inserts m as joining with the next generation of its name and a fresh lease,
// after it marked older incarnations of that name dead; it returns those.
func (s *Members) Join(ctx context.Context, m Member, lease time.Duration) (joined Member, replaced []Member, err error) {
	_, err = s.changing(ctx, m.Cluster, func(tx pgx.Tx) (bool, error) {
		if replaced, err = replaceName(ctx, tx, m.Cluster, m.Name); err != nil {
			return false, err
		}
		rows, err := tx.Query(ctx, `
			WITH m AS (
				INSERT INTO members (id, cluster, name, generation, host, port, kinds, roles, build, weight, cordoned, state, lease_ends, view, joined_at)
				SELECT $1, $2, $3, 1 + coalesce(max(o.generation), 0), $4, $5, coalesce($6, '{}'::text[]), coalesce($7, '{}'::text[]), $8, $9, $10, 'joining',
				       clock_timestamp() + $11::interval, 0, clock_timestamp()
				FROM members o
				WHERE o.cluster = $2 AND o.name = $3
				RETURNING *)
			SELECT `+memberColumns+` FROM m`,
			m.ID, m.Cluster, m.Name, m.Host, m.Port, m.Kinds, m.Roles, m.Build, m.Weight, m.Cordoned, lease)
		if err != nil {
			return false, err
		}
		joined, err = pgx.CollectExactlyOneRow(rows, scanMember)
		return true, err
	})
	if err != nil {
		return Member{}, nil, fmt.Errorf("join member %s: %w", m.Name, err)
	}
	return joined, replaced, nil
}

// replaceName marks the living incarnations of a name dead and returns them as
// they were.
func replaceName(ctx context.Context, tx pgx.Tx, cluster, name string) ([]Member, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+memberColumns+`
		FROM members m
		WHERE m.cluster = $1 AND m.name = $2 AND m.state IN ('joining', 'active', 'draining')`, cluster, name)
	if err != nil {
		return nil, err
	}
	old, err := pgx.CollectRows(rows, scanMember)
	if err != nil || len(old) == 0 {
		return nil, err
	}
	ids := make([]string, len(old))
	for i, m := range old {
		ids[i] = m.ID
	}
	if _, err := tx.Exec(ctx, `
		UPDATE members
		SET state = 'dead', ended_at = clock_timestamp(), ended_why = 'replaced'
		WHERE id = ANY($1)`, ids); err != nil {
		return nil, err
	}
	return old, endSuspicions(ctx, tx, ids)
}

// Renew extends the lease of a living member, whether or not it is over: a database
// that was away evicts nobody. It returns the member's state and how long its
// previous renewal lies back. The state of an unknown member is dead. news says
// that the table wants to be read: its view is not the one given, an active member
// holds an older one, a lease is over, or there is a suspicion.
func (s *Members) Renew(ctx context.Context, cluster, id string, lease time.Duration, view int64) (state string, gap time.Duration, news bool, err error) {
	var seconds float64
	err = s.pool.QueryRow(ctx, `
		WITH old AS (
			SELECT id, state, lease_ends
			FROM members
			WHERE cluster = $1 AND id = $2
			FOR UPDATE),
		renewed AS (
			UPDATE members m
			SET lease_ends = clock_timestamp() + $3::interval, view = $4
			FROM old
			WHERE m.id = old.id AND old.state IN ('joining', 'active', 'draining'))
		SELECT state, extract(epoch FROM clock_timestamp() - (lease_ends - $3::interval))::float8,
		       coalesce((SELECT v.view <> $4 FROM cluster_view v WHERE v.cluster = $1), true)
		       OR EXISTS (
		           SELECT FROM members m
		           WHERE m.cluster = $1 AND m.state IN ('joining', 'active', 'draining')
		             AND (m.lease_ends < clock_timestamp() OR m.state = 'active' AND m.view < $4
		                  OR EXISTS (SELECT FROM suspicions s WHERE s.suspect = m.id AND s.refreshed_at > clock_timestamp() - interval '2 seconds')))
		FROM old`, cluster, id, lease, view).Scan(&state, &seconds, &news)
	if errors.Is(err, pgx.ErrNoRows) {
		return "dead", 0, true, nil
	}
	if err != nil {
		return "", 0, false, fmt.Errorf("renew the lease of member %s: %w", id, err)
	}
	return state, time.Duration(seconds * float64(time.Second)), news, nil
}

// List returns the view, and all living members with up to ended of those that
// ended last, in order of name and generation, in one consistent read. The view of
// a cluster without members is 0.
func (s *Members) List(ctx context.Context, cluster string, ended int) (view int64, members []Member, err error) {
	// One statement, one snapshot: a view is never shown with the members of another.
	rows, err := s.pool.Query(ctx, `
		WITH m AS (
			SELECT *
			FROM members
			WHERE cluster = $1 AND state IN ('joining', 'active', 'draining')
			UNION ALL
			(SELECT *
			FROM members
			WHERE cluster = $1 AND state IN ('left', 'dead')
			ORDER BY ended_at DESC
			LIMIT $2))
		SELECT (SELECT view FROM cluster_view WHERE cluster = $1), `+memberColumns+`
		FROM m
		ORDER BY m.name, m.generation`, cluster, ended)
	if err == nil {
		members, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Member, error) { return scanMemberAfter(row, &view) })
	}
	if err != nil {
		return 0, nil, fmt.Errorf("list the members of %s: %w", cluster, err)
	}
	return view, members, nil
}

// Suspect records or refreshes that accuser cannot reach suspect.
func (s *Members) Suspect(ctx context.Context, suspect, accuser, why string) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO suspicions (suspect, accuser, refreshed_at, why)
		SELECT m.id, $2, clock_timestamp(), $3
		FROM members m
		WHERE m.id = $1 AND m.state IN ('joining', 'active', 'draining')
		ON CONFLICT (suspect, accuser) DO UPDATE SET refreshed_at = excluded.refreshed_at, why = excluded.why`, suspect, accuser, why)
	if err != nil {
		return fmt.Errorf("suspect member %s: %w", suspect, err)
	}
	return nil
}

// Clear takes a suspicion back.
func (s *Members) Clear(ctx context.Context, suspect, accuser string) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM suspicions WHERE suspect = $1 AND accuser = $2`, suspect, accuser); err != nil {
		return fmt.Errorf("clear the suspicion of member %s: %w", suspect, err)
	}
	return nil
}

// causes are the conditions under which suspect m may be declared dead by judge j,
// examined under the lock of the view.
var causes = map[string]string{
	"lease":   `m.lease_ends < clock_timestamp()`,
	"refused": `m.lease_ends = $4`,
	// A majority of the other active members suspects m. With one other, both must
	// suspect each other, and m must be the later one.
	"majority": `(SELECT CASE
			WHEN count(*) = 1 THEN bool_and(
				m.state = 'active' AND (m.joined_at, m.id) > (o.joined_at, o.id)
				AND EXISTS (SELECT FROM suspicions s WHERE s.suspect = m.id AND s.accuser = o.id AND s.refreshed_at > clock_timestamp() - interval '2 seconds')
				AND EXISTS (SELECT FROM suspicions s WHERE s.suspect = o.id AND s.accuser = m.id AND s.refreshed_at > clock_timestamp() - interval '2 seconds'))
			ELSE 2 * count(*) FILTER (WHERE EXISTS (
				SELECT FROM suspicions s WHERE s.suspect = m.id AND s.accuser = o.id AND s.refreshed_at > clock_timestamp() - interval '2 seconds')) > count(*)
			END
		FROM members o
		WHERE o.cluster = m.cluster AND o.state = 'active' AND o.id <> m.id)`,
}

// Declare marks a living suspect dead if the cause (lease, refused or majority)
// holds when it is examined again under the lock, and the judge is active with a
// live lease. It reports whether it did. For refused, leaseEnds is the suspect's
// LeaseEnds as read after the second refusal; else it is not looked at.
func (s *Members) Declare(ctx context.Context, cluster, judge, suspect, cause string, leaseEnds time.Time) (bool, error) {
	condition, ok := causes[cause]
	if !ok {
		return false, fmt.Errorf("declare member %s dead: unknown cause %q", suspect, cause)
	}
	args := []any{cluster, judge, suspect, cause}
	if cause == "refused" {
		args[3] = leaseEnds
	} else {
		condition += ` AND $4::text <> ''`
	}
	done, err := s.changing(ctx, cluster, func(tx pgx.Tx) (bool, error) {
		tag, err := tx.Exec(ctx, `
			UPDATE members m
			SET state = 'dead', ended_at = clock_timestamp(), ended_why = '`+cause+`'
			FROM members j
			WHERE m.cluster = $1 AND m.id = $3 AND m.state IN ('joining', 'active', 'draining')
			  AND j.cluster = $1 AND j.id = $2 AND j.id <> m.id AND j.state = 'active' AND j.lease_ends > clock_timestamp()
			  AND `+condition, args...)
		if err != nil || tag.RowsAffected() == 0 {
			return false, err
		}
		return true, endSuspicions(ctx, tx, []string{suspect})
	})
	if err != nil {
		return false, fmt.Errorf("declare member %s dead: %w", suspect, err)
	}
	return done, nil
}

// Change takes a member through its states: joining to active, active to draining,
// draining to left, and, for an operator, any living state to dead. It reports
// whether the member was in a state from which to may follow.
func (s *Members) Change(ctx context.Context, cluster, id, to, why string) (bool, error) {
	done, err := s.changing(ctx, cluster, func(tx pgx.Tx) (bool, error) {
		tag, err := tx.Exec(ctx, `
			UPDATE members
			SET state = $3,
			    ended_at = CASE WHEN $3 IN ('left', 'dead') THEN clock_timestamp() END,
			    ended_why = CASE WHEN $3 IN ('left', 'dead') THEN $4 END
			WHERE cluster = $1 AND id = $2
			  AND CASE $3
			      WHEN 'active' THEN state = 'joining'
			      WHEN 'draining' THEN state = 'active'
			      WHEN 'left' THEN state = 'draining'
			      WHEN 'dead' THEN state IN ('joining', 'active', 'draining')
			      ELSE false END`, cluster, id, to, why)
		if err != nil || tag.RowsAffected() == 0 {
			return false, err
		}
		if to != "left" && to != "dead" {
			return true, nil
		}
		return true, endSuspicions(ctx, tx, []string{id})
	})
	if err != nil {
		return false, fmt.Errorf("make member %s %s: %w", id, to, err)
	}
	return done, nil
}

// Cordon takes a living member out of placement, or back in.
func (s *Members) Cordon(ctx context.Context, cluster, id string, cordoned bool) (bool, error) {
	return s.set(ctx, cluster, id, "cordon", `UPDATE members SET cordoned = $3`, cordoned)
}

// Weigh sets the weight of a living member, at least 0.
func (s *Members) Weigh(ctx context.Context, cluster, id string, weight float64) (bool, error) {
	return s.set(ctx, cluster, id, "weigh", `UPDATE members SET weight = $3`, weight)
}

func (s *Members) set(ctx context.Context, cluster, id, what, update string, value any) (bool, error) {
	done, err := s.changing(ctx, cluster, func(tx pgx.Tx) (bool, error) {
		tag, err := tx.Exec(ctx, update+` WHERE cluster = $1 AND id = $2 AND state IN ('joining', 'active', 'draining')`, cluster, id, value)
		return err == nil && tag.RowsAffected() == 1, err
	})
	if err != nil {
		return false, fmt.Errorf("%s member %s: %w", what, id, err)
	}
	return done, nil
}

// MarkAllDead marks every living member of a cluster dead and returns them as they
// were: a starting supervisor, whose children ended with its predecessor, calls it
// before it starts any.
func (s *Members) MarkAllDead(ctx context.Context, cluster, why string) (dead []Member, err error) {
	_, err = s.changing(ctx, cluster, func(tx pgx.Tx) (bool, error) {
		rows, err := tx.Query(ctx, `
			SELECT `+memberColumns+`
			FROM members m
			WHERE m.cluster = $1 AND m.state IN ('joining', 'active', 'draining')
			ORDER BY m.name, m.generation`, cluster)
		if err != nil {
			return false, err
		}
		if dead, err = pgx.CollectRows(rows, scanMember); err != nil || len(dead) == 0 {
			return false, err
		}
		ids := make([]string, len(dead))
		for i, m := range dead {
			ids[i] = m.ID
		}
		if _, err := tx.Exec(ctx, `
			UPDATE members
			SET state = 'dead', ended_at = clock_timestamp(), ended_why = $2
			WHERE id = ANY($1)`, ids, why); err != nil {
			return false, err
		}
		return true, endSuspicions(ctx, tx, ids)
	})
	if err != nil {
		return nil, fmt.Errorf("mark the members of %s dead: %w", cluster, err)
	}
	return dead, nil
}
