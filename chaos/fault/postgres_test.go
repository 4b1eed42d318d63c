package fault

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/proxy"

	"fte/persistence/persistencetest"
)

// through connects to a database of the test's own as a member does.
func through(t *testing.T, p *Proxy, url string) *pgx.Conn {
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	socks, err := proxy.SOCKS5("tcp", p.Addr(), &proxy.Auth{User: "worker-1", Password: "x"}, proxy.Direct)
	require.NoError(t, err)
	cfg.DialFunc = func(_ context.Context, network, addr string) (net.Conn, error) { return socks.Dial(network, addr) }
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// A statement is known by its SQL although the driver prepared it, under a name,
// before anybody looked; it is executed, and its result is lost.
func TestTheResultOfAPreparedStatementIsLost(t *testing.T) {
	p, url := proxied(t), persistencetest.URL(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, other := through(t, p, url), through(t, p, url)
	_, err := conn.Exec(ctx, `CREATE TABLE counted (n int)`)
	require.NoError(t, err)
	insert := func(c *pgx.Conn, n int) error {
		_, err := c.Exec(ctx, `WITH fence AS (SELECT 1) INSERT INTO counted SELECT $1::int FROM fence`, n)
		return err
	}
	require.NoError(t, insert(conn, 1)) // prepares
	f := p.Add(Rule{To: []string{address(t, url)}, After: regexp.MustCompile("WITH fence AS")})

	var n int
	require.NoError(t, conn.QueryRow(ctx, `SELECT count(*) FROM counted WHERE n < $1::int`, 100).Scan(&n), "another statement passes")
	require.NoError(t, insert2(ctx, conn))
	require.Error(t, insert(conn, 2))
	require.True(t, conn.IsClosed())
	// Where it is not prepared yet, the preparation passes.
	require.Error(t, insert(other, 3))
	require.Equal(t, Struck{Matched: 2, Swallowed: 2}, f.Heal())

	conn = through(t, p, url)
	require.NoError(t, conn.QueryRow(ctx, `SELECT sum(n) FROM counted`).Scan(&n))
	require.Equal(t, 1+2+3+10, n, "they were executed")
}

// insert2 writes with SQL that nobody looks for, in a batch.
func insert2(ctx context.Context, c *pgx.Conn) error {
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO counted VALUES ($1)`, 4)
	b.Queue(`INSERT INTO counted VALUES ($1)`, 6)
	return c.SendBatch(ctx, b).Close()
}

// The COMMIT of a transaction is a query of its own.
func TestTheResultOfACommitIsLost(t *testing.T) {
	p, url := proxied(t), persistencetest.URL(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := through(t, p, url)
	_, err := conn.Exec(ctx, `CREATE TABLE counted (n int)`)
	require.NoError(t, err)
	f := p.Add(Rule{After: regexp.MustCompile("^commit$")})
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `INSERT INTO counted VALUES ($1)`, 7)
	require.NoError(t, err)
	require.Error(t, tx.Commit(ctx))
	require.Equal(t, 1, f.Heal().Swallowed)
	var n int
	require.NoError(t, through(t, p, url).QueryRow(ctx, `SELECT n FROM counted`).Scan(&n))
	require.Equal(t, 7, n)
}

// Whatever the segments are that a client's bytes come in, the requests are the same.
func TestRequestsAreFoundInAnySegments(t *testing.T) {
	message := func(kind byte, body string) string {
		n := len(body) + 4
		return string([]byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + body
	}
	start := "\x00\x00\x00\x08\x04\xd2\x16\x2f" + "\x00\x00\x00\x0c\x00\x03\x00\x00user"
	raw := start + message('p', "secret\x00") + message('P', "s1\x00SELECT 1\x00\x00\x00") + message('S', "") +
		message('B', "\x00s1\x00\x00\x00\x00\x00\x00\x00") + message('E', "\x00\x00\x00\x00\x00") + message('S', "") +
		message('Q', "commit\x00") + message('d', string(make([]byte, 70<<10))) + message('Q', "begin\x00") +
		message('C', "Ss1\x00") + message('B', "\x00s1\x00\x00\x00\x00\x00\x00\x00") + message('S', "")
	for _, size := range []int{1, 3, 7, 1000, len(raw)} {
		var p postgres
		var got []string
		for rest := []byte(raw); len(rest) > 0; {
			n := min(size, len(rest))
			got = append(got, p.feed(rest[:n])...)
			rest = rest[n:]
		}
		require.False(t, p.not)
		require.Equal(t, []string{"SELECT 1", "commit", "begin", ""}, got, "in segments of %d", size)
		require.LessOrEqual(t, cap(p.head), 2*kept)
	}
	for _, other := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "\x00\x00\x00\x2a\x00\x12\x00\x03\x00\x00\x00\x01"} {
		var p postgres
		require.Empty(t, p.feed([]byte(other)))
		require.True(t, p.not, fmt.Sprintf("%q", other))
	}
}

func address(t *testing.T, url string) string {
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	return net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))
}
