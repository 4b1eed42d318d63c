package persistencetest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"fte/persistence/embedded"
)

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	var first string
	t.Run("one", func(t *testing.T) {
		pool := Pool(t)
		_, err := pool.Exec(t.Context(), "INSERT INTO customers (id) VALUES (gen_random_uuid())")
		require.NoError(t, err)
		first = pool.Config().ConnConfig.Database
	})
	t.Run("another", func(t *testing.T) {
		pool := Pool(t)
		var rows, left int
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM customers").Scan(&rows))
		require.Zero(t, rows)
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", first).Scan(&left))
		require.Zero(t, left, "the first test's database is dropped")
	})
}

func TestDatabasesAreMadeAtOnce(t *testing.T) {
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			conn, err := pgx.Connect(t.Context(), URL(t))
			if err == nil {
				err = conn.Close(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

func TestEmptyHasNoSchema(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), Empty(t))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var there bool
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT to_regclass('customers') IS NOT NULL").Scan(&there))
	require.False(t, there)
}

// leaseEnv makes this test binary a process that takes a lease, says the URL and
// waits to be killed.
const leaseEnv = "FTE_PERSISTENCETEST_LEASE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(leaseEnv); dir != "" {
		ctx := context.Background()
		inst, err := embedded.Find(ctx, programs(), nil)
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, startTimeout)
			defer cancel()
			var url string
			if _, url, err = join(ctx, dir, inst, time.Second); err == nil {
				fmt.Println(url)
				time.Sleep(time.Hour)
			}
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Processes that start at once share one server; it lives on when all but one
// are killed, and goes by itself when the last one is.
func TestServerIsSharedAndGoesWhenNobodyIsThere(t *testing.T) {
	_, err := embedded.Find(t.Context(), programs(), nil)
	require.NoError(t, err)
	dir := t.TempDir()
	const users = 3
	var processes []*exec.Cmd
	var lines []*bufio.Reader
	for range users {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), leaseEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		processes, lines = append(processes, cmd), append(lines, bufio.NewReader(out))
	}
	kill := func(cmd *exec.Cmd) { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	defer func() {
		for _, cmd := range processes {
			kill(cmd)
		}
	}()
	urls := map[string]bool{}
	var url string
	for _, line := range lines {
		text, err := line.ReadString('\n')
		require.NoError(t, err)
		url = strings.TrimSpace(text)
		urls[url] = true
	}
	require.Len(t, urls, 1)

	for _, cmd := range processes[1:] {
		kill(cmd)
	}
	time.Sleep(3 * time.Second) // thrice what the keeper waits: it must not go
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err, "one user is still there")
	require.NoError(t, conn.Close(t.Context()))

	kill(processes[0])
	gone(t, dir)
	_, err = pgx.Connect(t.Context(), url)
	require.Error(t, err)
}

// A keeper that is killed takes the server along, and the next user starts anew.
func TestKilledKeeperIsReplaced(t *testing.T) {
	inst, err := embedded.Find(t.Context(), programs(), nil)
	require.NoError(t, err)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	lease, url, err := join(ctx, dir, inst, time.Second)
	require.NoError(t, err)
	defer lease.Close()
	require.NoError(t, killKeeper(dir))
	again, next, err := join(ctx, dir, inst, time.Second)
	require.NoError(t, err)
	require.NotEqual(t, url, next, "a new server has a new password")
	_, err = serving(ctx, dir)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.NoError(t, lease.Close())
	gone(t, dir)
}

// gone waits until the keeper of dir has ended and cleared up.
func gone(t *testing.T, dir string) {
	t.Helper()
	require.Eventually(t, func() bool {
		place, err := place(dir) // makes it, when it is gone
		require.NoError(t, err)
		left, err := os.ReadDir(place)
		return err == nil && len(left) == 0 && os.Remove(place) == nil
	}, time.Minute, 100*time.Millisecond, "the server stops by itself and its data is gone")
}

// killKeeper kills the process that was started as the keeper of dir.
func killKeeper(dir string) error {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return err
	}
	for _, path := range environs {
		text, _ := os.ReadFile(path)
		if !strings.Contains("\x00"+string(text), "\x00"+keeperEnv+"="+dir+"\x00") {
			continue
		}
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		self, err := os.Executable()
		if err != nil || exe != self {
			continue // a server inherits the environment
		}
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(filepath.Dir(path)), "%d", &pid); err != nil {
			return err
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		return p.Kill()
	}
	return fmt.Errorf("no keeper of %s", dir)
}

func BenchmarkClone(b *testing.B) {
	template, err := template()
	require.NoError(b, err)
	for _, strategy := range []string{"file_copy", "wal_log"} {
		b.Run(strategy, func(b *testing.B) {
			for i := range b.N {
				name := fmt.Sprintf("test_%d_b%d", os.Getpid(), i)
				require.NoError(b, clone(b.Context(), template, name, strategy))
				b.StopTimer()
				require.NoError(b, execute(b.Context(), "DROP DATABASE "+name))
				b.StartTimer()
			}
		})
	}
	b.Run("with drop", func(b *testing.B) {
		for i := range b.N {
			name := fmt.Sprintf("test_%d_c%d", os.Getpid(), i)
			require.NoError(b, clone(b.Context(), template, name, strategy))
			require.NoError(b, execute(b.Context(), "DROP DATABASE "+name))
		}
	})
}
