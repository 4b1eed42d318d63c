package embedded

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the process that owns a server and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("FTE_EMBEDDED_TEST_OWNER"); dir != "" {
		inst, err := Find(context.Background(), os.Getenv("FTE_TEST_POSTGRES_BIN"), nil)
		if err == nil {
			var s *Server
			if s, err = Start(context.Background(), Config{Installation: inst, Dir: dir}); err == nil {
				fmt.Println(s.PID())
				select {}
			}
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func installation(t *testing.T) Installation {
	t.Helper()
	inst, err := Find(t.Context(), os.Getenv("FTE_TEST_POSTGRES_BIN"), func(s string) { t.Log(s) })
	require.NoError(t, err)
	return inst
}

// folder is a short-lived folder of mode 0700, as a user's own would be.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pg")
	require.NoError(t, os.Mkdir(dir, 0o700))
	return dir
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestServerKeepsItsDataPortAndPassword(t *testing.T) {
	cfg := Config{Installation: installation(t), Dir: folder(t)}
	began := time.Now()
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Logf("first start: %v", time.Since(began))
	require.NoError(t, s.EnsureDatabase(t.Context(), "fte"))
	require.NoError(t, s.EnsureDatabase(t.Context(), "fte"), "a database that is there is fine")
	url := s.URL("fte")
	conn := connect(t, url)
	_, err = conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT lower('ÄÖ') AS word")
	require.NoError(t, err)
	var fsync, sockets, listen string
	require.NoError(t, conn.QueryRow(t.Context(),
		"SELECT current_setting('fsync'), current_setting('unix_socket_directories'), current_setting('listen_addresses')").
		Scan(&fsync, &sockets, &listen))
	require.Equal(t, []string{"on", "", "127.0.0.1"}, []string{fsync, sockets, listen})
	require.NoError(t, s.Stop())

	began = time.Now()
	s, err = Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Logf("later start: %v", time.Since(began))
	defer s.Stop()
	require.Equal(t, url, s.URL("fte"))
	var word string
	require.NoError(t, connect(t, url).QueryRow(t.Context(), "SELECT word FROM kept").Scan(&word))
	require.Equal(t, "äö", word)
}

func TestWrongPasswordIsRefused(t *testing.T) {
	s, err := Start(t.Context(), Config{Installation: installation(t), Dir: folder(t), NoFsync: true})
	require.NoError(t, err)
	defer s.Stop()
	_, err = pgx.Connect(t.Context(), strings.Replace(s.URL("postgres"), s.password, "guess", 1))
	require.ErrorContains(t, err, "password authentication failed")
}

func TestLogHasNoValues(t *testing.T) {
	cfg := Config{Installation: installation(t), Dir: folder(t), NoFsync: true}
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer s.Stop()
	conn := connect(t, s.URL("postgres"))
	_, err = conn.Exec(t.Context(), "CREATE TABLE once (word text PRIMARY KEY)")
	require.NoError(t, err)
	for range 2 {
		_, err = conn.Exec(t.Context(), "INSERT INTO once VALUES ('canary@example.com')")
	}
	require.ErrorContains(t, err, "duplicate key")
	_, err = conn.Exec(t.Context(), "SELECT $1::text::uuid", "canary@example.com")
	require.ErrorContains(t, err, "canary", "Postgres quotes values in its errors")
	text, err := os.ReadFile(filepath.Join(cfg.Dir, "log"))
	require.NoError(t, err)
	require.Contains(t, string(text), "ready to accept connections")
	require.NotContains(t, string(text), "canary")
}

func TestSecondUseOfAFolderSaysSo(t *testing.T) {
	cfg := Config{Installation: installation(t), Dir: folder(t), NoFsync: true}
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer s.Stop()
	_, err = Start(t.Context(), cfg)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, cfg.Dir)
}

// A server that was killed is served again by the process that started it, on
// the same port.
func TestKilledServerIsServedAgain(t *testing.T) {
	cfg := Config{Installation: installation(t), Dir: folder(t), NoFsync: true}
	first, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(first.PID(), syscall.SIGKILL))
	<-first.Done()
	require.Error(t, first.Err())
	again, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer again.Stop()
	require.Equal(t, first.Port(), again.Port())
	require.NoError(t, first.Stop(), "stopping what is gone does nothing to its successor")
	connect(t, again.URL("postgres"))
}

func TestTakenPortIsNamed(t *testing.T) {
	cfg := Config{Installation: installation(t), Dir: folder(t), NoFsync: true}
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer s.Stop()
	cfg.Dir, cfg.Port = folder(t), s.Port()
	_, err = Start(t.Context(), cfg)
	require.ErrorContains(t, err, fmt.Sprintf("port %d is taken", s.Port()))
}

// A killed owner takes its server along, and the next start has the data.
func TestServerDiesWithItsOwner(t *testing.T) {
	installation(t) // not fetched by the child under our deadline
	dir := folder(t)
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), "FTE_EMBEDDED_TEST_OWNER="+dir)
	owner.Stderr = os.Stderr
	out, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	require.True(t, serves(pid, filepath.Join(dir, "data")) || ordinary().nobody)
	require.NoError(t, owner.Process.Kill())
	_ = owner.Wait()

	s, err := Start(t.Context(), Config{Installation: installation(t), Dir: dir})
	require.NoError(t, err)
	defer s.Stop()
	require.NotEqual(t, pid, s.PID())
	require.False(t, serves(pid, filepath.Join(dir, "data")), "the killed owner's server is gone")
	connect(t, s.URL("postgres"))
}

// A postmaster.pid of a machine that crashed may name a process that is somebody
// else's by now.
func TestForeignProcessInStalePIDFileIsLeftAlone(t *testing.T) {
	cfg := Config{Installation: installation(t), Dir: folder(t)}
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	pidFile := filepath.Join(s.data, "postmaster.pid")
	text, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	bystander := exec.Command("sleep", "600")
	require.NoError(t, bystander.Start())
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
	_, rest, _ := strings.Cut(string(text), "\n")
	require.NoError(t, os.WriteFile(pidFile, fmt.Appendf(nil, "%d\n%s", bystander.Process.Pid, rest), 0o600))

	s, err = Start(t.Context(), cfg)
	require.NoError(t, err)
	defer s.Stop()
	connect(t, s.URL("postgres"))
	require.NoError(t, bystander.Process.Signal(syscall.Signal(0)), "it still lives")
}

// A server that outlived its owner (it was stopped, say) is ended by the next.
func TestOrphanedServerIsEnded(t *testing.T) {
	cfg := Config{Installation: installation(t), Dir: folder(t)}
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, s.lock.Close()) // as if we had died and it had not
	next, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer next.Stop()
	<-s.Done()
	connect(t, next.URL("postgres"))
}

func TestFolderOfAnotherVersionIsRefused(t *testing.T) {
	cfg := Config{Installation: installation(t), Dir: folder(t)}
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	require.NoError(t, os.WriteFile(filepath.Join(s.data, "PG_VERSION"), []byte("14\n"), 0o600))
	_, err = Start(t.Context(), cfg)
	require.ErrorContains(t, err, "made by Postgres 14")
}

// Where user namespaces are refused, root's server runs as the account nobody.
func TestServerOfRootRunsAsNobody(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("we are not root: Postgres runs under our own account")
	}
	cfg := Config{Installation: installation(t), Dir: folder(t)}
	s, err := startAs(t.Context(), cfg, account{nobody: true})
	require.NoError(t, err)
	if bin := s.cfg.Installation.Bin; bin != cfg.Installation.Bin { // it was copied to where nobody reaches it
		defer os.RemoveAll(filepath.Dir(filepath.Dir(bin)))
	}
	defer os.RemoveAll(filepath.Dir(s.data))
	defer s.Stop()
	connect(t, s.URL("postgres"))
	info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(s.PID())))
	require.NoError(t, err)
	require.EqualValues(t, nobodyID, info.Sys().(*syscall.Stat_t).Uid)
}
