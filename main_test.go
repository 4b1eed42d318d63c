package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fte(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	code = run(ctx, args, &o, &e)
	return code, o.String(), e.String()
}

func TestWrongUseExitsTwo(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "")
	for name, args := range map[string][]string{
		"no command": nil, "unknown command": {"fly"}, "unknown flag": {"dev", "-wings"}, "no workers": {"dev", "-workers", "0"}, "too many APIs": {"dev", "-apis", "9"},
		"unknown model": {"dev", "-model", "psychic"}, "openai without a key": {"dev", "-model", "openai"}, "stray word": {"dev", "now"},
		"migrate whither": {"migrate", "sideways"}, "learn nothing": {"learn"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := fte(t, args...)
			require.Equal(t, 2, code, errs)
			require.Contains(t, errs, "usage")
			if len(args) > 0 {
				require.Equal(t, 1, strings.Count(errs, "\n"), "one line: %s", errs)
			}
		})
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	for _, c := range commands() {
		code, out, errs := fte(t, c.name, "-h")
		require.Zero(t, code, c.name)
		require.Empty(t, errs)
		require.Contains(t, out, "usage: fte "+c.name)
	}
	_, out, _ := fte(t, "dev", "-h")
	for _, flag := range []string{"-dir", "-http", "-sim", "-workers", "-apis", "-restart", "-model", "-reset"} {
		require.Contains(t, out, "  "+flag)
	}
	code, out, _ := fte(t, "help")
	require.Zero(t, code)
	require.Contains(t, out, "members")
}

func TestFailureExitsOneWithOneLine(t *testing.T) {
	t.Setenv("FTE_API", "")
	t.Setenv("DATABASE_URL", "")
	for name, args := range map[string][]string{
		"members without a system": {"members", "-dir", t.TempDir()}, "who without a system": {"who", "x", "-dir", t.TempDir()},
		"learn from no folder": {"learn", "/nonexistent"}, "status without a database": {"migrate", "status", "-dir", t.TempDir()}, "serve without settings": {"serve", "-run", "webhook"}, "migrate without a database": {"migrate", "up", "-dir", t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := fte(t, args...)
			require.Equal(t, 1, code)
			require.Empty(t, out)
			require.Equal(t, 1, strings.Count(errs, "\n"), errs)
		})
	}
}

func TestATakenPortNamesItsFlag(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	code, _, errs := fte(t, "dev", "-dir", t.TempDir(), "-http", l.Addr().String())
	require.Equal(t, 1, code)
	require.Contains(t, errs, "-http "+l.Addr().String())
}

func TestAnUnreadableDatabaseURLIsNotQuoted(t *testing.T) {
	t.Setenv("DATABASE_URL", "::fte:hunter2@")
	for _, args := range [][]string{{"migrate", "up"}, {"learn", t.TempDir()}, {"dev", "-dir", t.TempDir(), "-http", "127.0.0.1:0", "-sim", "127.0.0.1:0"}} {
		code, _, errs := fte(t, args...)
		require.Equal(t, 1, code)
		require.Contains(t, errs, "DATABASE_URL")
		require.NotContains(t, errs, "hunter2")
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	require.Equal(t, "ask: a: refused; b: refused", oneLine("ask:\n\ta: refused\n\tb: refused\n"))
}

func TestAPIProcessesTakeFollowingPortsWithoutTheSimulators(t *testing.T) {
	d := &dev{devOptions: devOptions{http: "127.0.0.1:0", sim: "127.0.0.1:0", apis: 3}}
	require.NoError(t, d.checkPorts())
	require.Len(t, d.edges, 3)
	require.Equal(t, d.http, d.edges[0])
	require.NotContains(t, d.edges, d.sim)

	// Of three ports in a row the simulators have the second and a stranger the
	// third. They lie below those that connections take.
	var first int
	var stranger net.Listener
	for first = 20000 + rand.IntN(10000); stranger == nil; first += 3 {
		require.Less(t, first, 32000, "no three free ports in a row")
		var free []net.Listener
		for n := range 3 {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+n)); err == nil {
				free = append(free, l)
			}
		}
		if len(free) == 3 {
			stranger, free = free[2], free[:2]
		}
		for _, l := range free {
			l.Close()
		}
	}
	first -= 3
	port := first + 2
	defer stranger.Close()
	d = &dev{devOptions: devOptions{http: fmt.Sprintf("127.0.0.1:%d", first), sim: fmt.Sprintf("127.0.0.1:%d", first+1), apis: 2}}
	err := d.checkPorts()
	require.ErrorContains(t, err, "-http")
	require.ErrorContains(t, err, fmt.Sprint(port))
	stranger.Close()
	require.NoError(t, d.checkPorts())
	require.Equal(t, []string{d.http, fmt.Sprintf("127.0.0.1:%d", port)}, d.edges)
}

func TestTwoInOneFolder(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockFolder(dir)
	require.NoError(t, err)
	defer lock.Close()
	code, _, errs := fte(t, "dev", "-dir", dir)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "another fte dev")
	code, _, errs = fte(t, "dev", "-dir", dir, "-reset")
	require.Equal(t, 1, code, "a folder in use is not reset")
	require.Contains(t, errs, "another fte dev")
}

func TestResetLeavesFoldersThatAreNotOurs(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "letters"), []byte("x"), 0o600))
	require.NoError(t, resetDev(dir))
	require.FileExists(t, filepath.Join(dir, "letters"))
}

// refuser is a SOCKS5 proxy that refuses every connection, with reply 5.
func refuser(t *testing.T) (addr string, user <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	users := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 512)
		io.ReadFull(c, b[:2])
		io.ReadFull(c, b[:b[1]])
		c.Write([]byte{5, 2}) // user and password
		io.ReadFull(c, b[:2])
		n := int(b[1])
		io.ReadFull(c, b[:n])
		users <- string(b[:n])
		io.ReadFull(c, b[:1])
		io.ReadFull(c, b[:b[0]])
		c.Write([]byte{1, 0})
		io.ReadFull(c, b[:10])
		c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
	}()
	return l.Addr().String(), users
}

// A refusal keeps its meaning through the proxy: the process is gone, which the
// membership takes as evidence.
func TestARefusalThroughTheProxyIsARefusal(t *testing.T) {
	addr, user := refuser(t)
	d, err := newDialer(addr, "worker-7")
	require.NoError(t, err)
	_, err = d.DialContext(context.Background(), "tcp", "127.0.0.1:9")
	require.True(t, errors.Is(err, syscall.ECONNREFUSED), "%v", err)
	require.Equal(t, "worker-7", <-user, "the proxy learns whose connection it is")
}

func TestPeerTLSNeedsACertificateOfTheCluster(t *testing.T) {
	ours, theirs := t.TempDir(), t.TempDir()
	for _, dir := range []string{ours, theirs} {
		require.NoError(t, developmentCA(dir))
	}
	load := func(dir string) (s, c *http.Transport, server *httptest.Server) {
		st, ct, err := peerTLS(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		require.NoError(t, err)
		server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
		server.TLS = st
		return nil, &http.Transport{TLSClientConfig: ct}, server
	}
	_, client, server := load(ours)
	server.StartTLS()
	defer server.Close()
	res, err := (&http.Client{Transport: client}).Get(server.URL)
	require.NoError(t, err)
	res.Body.Close()
	_, stranger, _ := load(theirs)
	_, err = (&http.Client{Transport: stranger}).Get(server.URL)
	require.Error(t, err, "a certificate of another CA")
	before, err := os.ReadFile(filepath.Join(ours, "key.pem"))
	require.NoError(t, err)
	require.NoError(t, developmentCA(ours))
	after, err := os.ReadFile(filepath.Join(ours, "key.pem"))
	require.NoError(t, err)
	require.Equal(t, before, after, "it is made once")
}

// -open shows the playground in whatever opens pages here.
func TestThePlaygroundIsOpened(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "seen")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" >"+seen+".new && mv "+seen+".new "+seen+"\n"), 0o755))
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	(&dev{started: time.Now()}).show("http://127.0.0.1:8080")
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(seen)
		return strings.TrimSpace(string(b)) == "http://127.0.0.1:8080"
	}, 10*time.Second, 10*time.Millisecond)
	t.Setenv("PATH", t.TempDir())
	(&dev{started: time.Now()}).show("http://127.0.0.1:8080") // says so, and goes on
}
