package harness

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"fte/channel/simctl"
)

// TestMain lets the test binary stand in for the program under test: as `fte
// dev` it starts children that sleep, prints a ready line and waits.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("FTE_FAKE") == "child":
		time.Sleep(time.Hour)
	case os.Getenv("FTE_FAKE") != "":
		fakeDev(os.Getenv("FTE_FAKE"))
	default:
		os.Exit(m.Run())
	}
}

func fakeDev(behaviour string) {
	dir := os.Args[3]
	if behaviour == "silent" {
		fmt.Fprintln(os.Stderr, "port 80 is taken")
		os.Exit(1)
	}
	sim, _ := net.Listen("tcp", "127.0.0.1:0")
	mux := http.NewServeMux()
	faults := simctl.NewFaults(1)
	mux.Handle("/_ctl/faults", faults)
	mux.HandleFunc("DELETE /_ctl/faults/{id}", faults.ServeOne)
	mux.Handle("/2010-04-01/", faults.Intercept("twilio", http.NotFoundHandler()))
	mux.HandleFunc("GET /api/v1/members", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"items":[{"name":"worker-1"}]}`)
	})
	go http.Serve(sim, mux)
	url := "http://" + sim.Addr().String()
	r := Ready{Ready: true, HTTP: url, Sim: url, OperatorToken: "token", SupervisorPID: os.Getpid(), DatabaseURL: "postgres://fte@127.0.0.1:5999/fte"}
	for i := range 2 {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "FTE_FAKE=child")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			panic(err)
		}
		go c.Wait()
		r.Members = append(r.Members, Member{Name: fmt.Sprintf("worker-%d", i+1), Kind: "worker", PID: c.Process.Pid, Generation: 1, State: "active", Address: fmt.Sprintf("127.0.0.1:600%d", i)})
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM) // before anybody knows that we are here
	raw, _ := json.Marshal(r)
	os.WriteFile(filepath.Join(dir, "dev.json"), raw, 0o600)
	fmt.Println(string(raw))
	<-term
	for behaviour == "stubborn" {
		<-term
	}
}
