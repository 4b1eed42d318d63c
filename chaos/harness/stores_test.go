package harness

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/persistence/embedded"
	"fte/persistence/persistencetest"
)

// only is a system of which there is only what the test names.
func only(first Ready) *Dev { return (&Dev{system: &system{first: first}}).As("N0", 7) }

func member(t *testing.T, url, name string) *pgx.Conn {
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	cfg.RuntimeParams["application_name"] = name
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// noted is the one fault that was noted.
func noted(t *testing.T, d *Dev) checker.Fault {
	t.Helper()
	require.Len(t, d.Faults(), 1)
	f := d.Faults()[0]
	require.Equal(t, "N0", f.Nemesis)
	require.Equal(t, 7, f.Strike)
	require.False(t, f.To.IsZero(), "it is healed")
	return f
}

func TestAStormEndsTheConnectionsOfThoseItMeans(t *testing.T) {
	url := persistencetest.URL(t)
	dice := rand.New(rand.NewPCG(1, 1))
	one, lease, ten, other := member(t, url, "fte worker-1"), member(t, url, "fte worker-1 lease"), member(t, url, "fte worker-10"), member(t, url, "somebody")
	d := only(Ready{DatabaseURL: url})
	require.NoError(t, d.Storm(t.Context(), "worker-1", 300*time.Millisecond, dice))
	require.Error(t, one.Ping(t.Context()))
	require.Error(t, lease.Ping(t.Context()))
	require.NoError(t, ten.Ping(t.Context()))
	f := noted(t, d)
	require.True(t, f.Fired)
	require.Contains(t, f.Evidence, "2 connections terminated")

	d = only(Ready{DatabaseURL: url})
	require.NoError(t, d.Storm(t.Context(), "", 300*time.Millisecond, dice))
	require.Error(t, ten.Ping(t.Context()))
	require.NoError(t, other.Ping(t.Context()), "none of ours")
	require.True(t, noted(t, d).Fired)

	d = only(Ready{DatabaseURL: url})
	require.NoError(t, d.Storm(t.Context(), "", 150*time.Millisecond, dice))
	require.False(t, noted(t, d).Fired, "there was nobody left")
}

func TestNoConnectionIsLeftUntilTheyAreGivenBack(t *testing.T) {
	inst, err := embedded.Find(t.Context(), os.Getenv("FTE_TEST_POSTGRES_BIN"), nil)
	require.NoError(t, err)
	server, err := embedded.Start(t.Context(), embedded.Config{Installation: inst, Dir: t.TempDir(), NoFsync: true, Settings: map[string]string{"max_connections": "12"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop() })
	url := server.URL("postgres")
	d := only(Ready{DatabaseURL: url})
	ended := make(chan error, 1)
	go func() { ended <- d.Exhaust(t.Context(), 2*time.Second) }()
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err != nil && len(ended) == 0
	}, 10*time.Second, 10*time.Millisecond, "everybody else was let in")
	require.NoError(t, <-ended)
	f := noted(t, d)
	require.True(t, f.Fired, f.Evidence)
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "they were not given back")
}

func TestALockedCustomerIsWaitedFor(t *testing.T) {
	url := persistencetest.URL(t)
	d := only(Ready{DatabaseURL: url})
	conn := member(t, url, "fte worker-1")
	const id = "0198c0de-0000-7000-8000-000000000001"
	_, err := conn.Exec(t.Context(), `INSERT INTO customers (id) VALUES ($1)`, id)
	require.NoError(t, err)
	lock, err := d.LockCustomer(t.Context(), id)
	require.NoError(t, err)
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), `UPDATE customers SET version = version + 1 WHERE id = $1`, id)
		wrote <- err
	}()
	lock.Hold(t.Context(), time.Second)
	require.NoError(t, <-wrote)
	f := noted(t, d)
	require.True(t, f.Fired)
	require.Contains(t, f.Evidence, "1 statements waited")

	idle, err := d.LockCustomer(t.Context(), id)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	idle.Hold(ctx, time.Hour) // ends with ctx
	require.False(t, d.Faults()[1].Fired)
	_, err = conn.Exec(t.Context(), `UPDATE customers SET version = version + 1 WHERE id = $1`, id)
	require.NoError(t, err)

	_, err = d.LockCustomer(t.Context(), "0198c0de-0000-7000-8000-000000000002")
	require.ErrorContains(t, err, "000000000002")
}

func TestPostgresThatIsNotOursIsNotRestarted(t *testing.T) {
	d := start(t, "good", Config{}).As("N15", 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := d.end(ctx, "postgres", 2)
	require.ErrorContains(t, err, "none runs")
}
