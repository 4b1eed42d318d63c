package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fte/agent"
)

// devControl is /_dev, under `fte dev` only: what the playground needs besides
// the operator API. It gives this machine's browser the operator's token, signals
// processes, slows the model and reaches the simulated vendors' control.
func devControl(dir, token string) http.Handler {
	authorized := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !bearer(r, token) {
				refuse(w, http.StatusUnauthorized, "the operator's bearer token is missing or wrong")
				return
			}
			h(w, r)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there is nothing at this path")
	})
	mux.HandleFunc("/_dev/session", only(http.MethodGet, func(w http.ResponseWriter, r *http.Request) { devSession(w, r, dir) }))
	mux.HandleFunc("/_dev/members/{name}/kill", only(http.MethodPost, authorized(func(w http.ResponseWriter, r *http.Request) { devKill(w, r, dir) })))
	think := authorized(func(w http.ResponseWriter, r *http.Request) { devThink(w, r, dir) })
	mux.HandleFunc("GET /_dev/think", think)
	mux.HandleFunc("PUT /_dev/think", think)
	mux.HandleFunc("/_dev/sim/", authorized(func(w http.ResponseWriter, r *http.Request) { devSim(w, r, dir) }))
	return mux
}

func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(object{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v)
}

// only lets one method through.
func only(method string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			refuse(w, http.StatusMethodNotAllowed, "this path takes "+method+" only")
			return
		}
		h(w, r)
	}
}

// devSession tells the playground where everything is. It asks for no token, so
// it answers only pages of our own origin on this machine: another site's page
// cannot read it, and a name that was rebound to this machine is refused.
func devSession(w http.ResponseWriter, r *http.Request, dir string) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		refuse(w, http.StatusForbidden, "open the playground on this machine, by 127.0.0.1 or localhost")
		return
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		refuse(w, http.StatusForbidden, "only the playground's own page may ask")
		return
	}
	j, err := readDevJSON(dir)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "the supervisor's dev.json cannot be read")
		return
	}
	answer(w, object{"operator_token": j.OperatorToken, "http": j.HTTP, "apis": j.APIs, "sim": j.Sim, "mailbox": j.Mailbox, "whatsapp_number": j.WhatsAppNumber, "site_key": j.SiteKey})
}

// devKill signals the process that dev.json names.
func devKill(w http.ResponseWriter, r *http.Request, dir string) {
	signals := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "TERM": syscall.SIGTERM}
	var in struct {
		Signal string `json:"signal"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, `want {"signal":"KILL|STOP|CONT|TERM"}`)
		return
	}
	signal, ok := signals[in.Signal]
	if !ok {
		refuse(w, http.StatusBadRequest, "signal is not KILL, STOP, CONT or TERM")
		return
	}
	j, err := readDevJSON(dir)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "the supervisor's dev.json cannot be read")
		return
	}
	for _, m := range j.Members {
		if m.Name != r.PathValue("name") {
			continue
		}
		if m.PID == 0 {
			refuse(w, http.StatusConflict, m.Name+" is not running just now")
			return
		}
		if err := syscall.Kill(m.PID, signal); err != nil {
			refuse(w, http.StatusConflict, fmt.Sprintf("%s could not be signalled: %v", m.Name, err))
			return
		}
		answer(w, object{"name": m.Name, "pid": m.PID, "signal": in.Signal})
		return
	}
	refuse(w, http.StatusNotFound, "there is no member of this name")
}

// mostThinking is the longest a model call can be slowed by: more would be a
// model that hangs (channels.md LL-03).
const mostThinking = 6 * time.Second

// devThink shows or sets how long each call of a model takes at least.
func devThink(w http.ResponseWriter, r *http.Request, dir string) {
	if r.Method == http.MethodPut {
		var in struct {
			Delay string `json:"delay"`
		}
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&in)
		d, bad := time.ParseDuration(in.Delay)
		if err != nil || bad != nil || d < 0 || d > mostThinking {
			refuse(w, http.StatusBadRequest, fmt.Sprintf(`want {"delay":"3s"}, 0s to %v`, mostThinking))
			return
		}
		path := filepath.Join(dir, "think")
		if err = os.WriteFile(path+".new", []byte(d.String()), 0o600); err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			refuse(w, http.StatusServiceUnavailable, "the delay could not be written to the folder of fte dev")
			return
		}
	}
	answer(w, object{"delay": thinkingTime(dir).String()})
}

// thinkingTime is what devThink set; 0 before.
func thinkingTime(dir string) time.Duration {
	b, _ := os.ReadFile(filepath.Join(dir, "think"))
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 || d > mostThinking {
		return 0
	}
	return d
}

// slowed is a model that takes its time, so that a turn can be watched, and its
// worker killed, while it runs.
type slowed struct {
	agent.Model
	dir string
}

func (s slowed) Complete(ctx context.Context, req agent.Request) (agent.Response, error) {
	if d := thinkingTime(s.dir); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return agent.Response{}, ctx.Err()
		}
	}
	return s.Model.Complete(ctx, req)
}

// devSim reaches the control of the simulated vendors: /_dev/sim/X is SIM/_ctl/X.
func devSim(w http.ResponseWriter, r *http.Request, dir string) {
	j, err := readDevJSON(dir)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "the supervisor's dev.json cannot be read")
		return
	}
	sim, err := url.Parse(j.Sim)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "dev.json names no simulated vendors")
		return
	}
	(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Path, p.Out.URL.RawPath = "/_ctl/"+strings.TrimPrefix(r.URL.Path, "/_dev/sim/"), ""
			p.SetURL(sim)
			p.Out.Header.Del("Authorization")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			refuse(w, http.StatusBadGateway, "the simulated vendors do not answer")
		},
	}).ServeHTTP(w, r)
}

// readDevJSON reads DIR/dev.json.
func readDevJSON(dir string) (devJSON, error) {
	var j devJSON
	path := filepath.Join(dir, "dev.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return j, fmt.Errorf("%w: no fte dev runs there", err)
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return j, fmt.Errorf("read %s: %w", path, err)
	}
	return j, nil
}

// databaseURL is DATABASE_URL, else the database of the fte dev in dir.
func databaseURL(dir string) (string, error) {
	if u := os.Getenv("DATABASE_URL"); u != "" {
		if !isPostgresURL(u) { // the driver would quote what it cannot parse, password and all
			return "", errors.New("read the settings: DATABASE_URL: is not a postgres:// URL")
		}
		return u, nil
	}
	j, err := readDevJSON(dir)
	if err != nil {
		return "", fmt.Errorf("find the database: %w; name its folder with -dir, or set DATABASE_URL", err)
	}
	return j.DatabaseURL, nil
}
