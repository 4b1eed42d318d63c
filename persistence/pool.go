package persistence

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxvec "github.com/pgvector/pgvector-go/pgx"
	"go.uber.org/zap"
)

// Config says how to reach the database.
type Config struct {
	// URL is a postgres:// URL or a keyword string. What it says itself
	// (pool_max_conns, application_name, time limits) wins over the fields below.
	URL string
	// MaxConns is the most connections of this process. Defaults to 16.
	MaxConns int32
	// Name is what the server shows as application_name. Defaults to "fte".
	Name string
	// StatementTimeout ends a statement on the server. Defaults to 30 seconds.
	StatementTimeout time.Duration
	// LockTimeout ends a wait for a lock. Defaults to 5 seconds.
	LockTimeout time.Duration
	// Dial makes every connection; host names are its business then. Defaults to
	// a dialer that notices a dead peer within half a minute.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Log is told when no connection can be made. Required.
	Log *zap.Logger
}

// connectTimeout is how long one attempt to connect may take.
const connectTimeout = 5 * time.Second

// Open returns a pool for the database. It does not connect: a process starts
// and says what is away before Postgres is there.
func Open(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	config, err := poolConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return pool, nil
}

func poolConfig(cfg Config) (*pgxpool.Config, error) {
	if cfg.Log == nil {
		return nil, fmt.Errorf("config has no Log")
	}
	config, err := pgxpool.ParseConfig(cfg.URL) // its error hides the password
	if err != nil {
		return nil, err
	}
	conn := config.ConnConfig
	limits := map[string]string{
		"application_name":                    or(cfg.Name, "fte"),
		"timezone":                            "UTC",
		"statement_timeout":                   milliseconds(or(cfg.StatementTimeout, 30*time.Second)),
		"lock_timeout":                        milliseconds(or(cfg.LockTimeout, 5*time.Second)),
		"idle_in_transaction_session_timeout": milliseconds(15 * time.Second),
		// The server notices within half a minute that a client's machine is gone,
		// and lets go of its locks.
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4",
		"tcp_user_timeout": milliseconds(30 * time.Second),
	}
	for name, value := range limits {
		if _, said := conn.RuntimeParams[name]; !said {
			conn.RuntimeParams[name] = value
		}
	}
	if conn.ConnectTimeout == 0 || conn.ConnectTimeout > connectTimeout {
		conn.ConnectTimeout = connectTimeout
	}
	conn.DialFunc = (&net.Dialer{Timeout: connectTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4,
	}}).DialContext
	if cfg.Dial != nil {
		conn.DialFunc = cfg.Dial
		conn.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	}
	conn.Tracer = &connectLog{log: cfg.Log}
	if !strings.Contains(cfg.URL, "pool_max_conns") {
		config.MaxConns = or(cfg.MaxConns, 16)
	}
	config.MaxConnLifetime, config.MaxConnLifetimeJitter = time.Hour, 10*time.Minute
	config.MaxConnIdleTime = 5 * time.Minute
	config.HealthCheckPeriod = 15 * time.Second
	config.AfterConnect = registerVector
	return config, nil
}

// registerVector teaches a connection the vector types where the database has
// them.
func registerVector(ctx context.Context, conn *pgx.Conn) error {
	var has bool
	if err := conn.QueryRow(ctx, "SELECT to_regtype('vector') IS NOT NULL").Scan(&has); err != nil {
		return fmt.Errorf("look for the vector type: %w", err)
	}
	if !has {
		return nil
	}
	return pgxvec.RegisterTypes(ctx, conn)
}

// connectLog warns that connecting fails, once in a while: a pool tries often.
type connectLog struct {
	log    *zap.Logger
	warned atomic.Int64 // Unix seconds
}

// TraceConnectStart implements pgx.ConnectTracer.
func (*connectLog) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd implements pgx.ConnectTracer.
func (l *connectLog) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	if data.Err == nil {
		return
	}
	now, last := time.Now().Unix(), l.warned.Load()
	if now-last >= 10 && l.warned.CompareAndSwap(last, now) {
		l.log.Warn("cannot connect to Postgres", zap.Error(data.Err))
	}
}

// TraceQueryStart implements pgx.QueryTracer; statements are not traced here.
func (*connectLog) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (*connectLog) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// or is v, or the default where v is zero.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
