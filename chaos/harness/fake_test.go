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
	"runtime"
	"sync"
	"sync/atomic"
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
	sim, err := net.Listen("tcp", os.Args[7])
	if err != nil {
		panic(err)
	}
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
	mux.HandleFunc("POST /api/v1/members/{id}/evict", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "id-1" {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	var shown atomic.Int32
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "# TYPE go_goroutines gauge\ngo_goroutines 42\ngo_goroutines_created 7")
		mail, chat := 3, 4
		if shown.Add(1) > 8 {
			mail, chat = 0, 0
		}
		fmt.Fprintf(w, "fte_intake_lag_records{channel=\"email\"} %d\nfte_intake_lag_records{channel=\"whatsapp\"} %d\nfte_intake_lag_records_total 9\n", mail, chat)
	})
	go http.Serve(sim, mux)
	url := "http://" + sim.Addr().String()
	r := Ready{Ready: true, HTTP: url, APIs: []string{"http://127.0.0.1:1", url}, Sim: url, OperatorToken: "token", SupervisorPID: os.Getpid(), DatabaseURL: "postgres://fte@127.0.0.1:5999/fte"}
	var mu sync.Mutex
	save := func() {
		raw, _ := json.Marshal(r)
		file := filepath.Join(dir, "dev.json")
		os.WriteFile(file+".new", raw, 0o600)
		os.Rename(file+".new", file)
	}
	var begin func(i int)
	begin = func(i int) {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "FTE_FAKE=child")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			panic(err)
		}
		r.Members[i].PID = c.Process.Pid
		r.Members[i].Generation++
		go func() {
			c.Wait()
			if behaviour == "again" {
				time.Sleep(200 * time.Millisecond) // as a supervisor waits before it starts a child again
				mu.Lock()
				defer mu.Unlock()
				begin(i)
				save()
			}
		}()
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM) // before anybody knows that we are here
	runtime.LockOSThread()               // Pdeathsig is about the thread that forked
	mu.Lock()
	for i := range 2 {
		r.Members = append(r.Members, Member{Name: fmt.Sprintf("worker-%d", i+1), Kind: "worker", State: "active", SystemID: fmt.Sprintf("id-%d", i+1),
			Address: fmt.Sprintf("127.0.0.1:600%d", i), Metrics: sim.Addr().String()})
		begin(i)
	}
	save()
	raw, _ := json.Marshal(r)
	mu.Unlock()
	fmt.Println(string(raw))
	<-term
	for behaviour == "stubborn" {
		<-term
	}
}
