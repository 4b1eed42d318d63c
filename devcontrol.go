package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
)

// devControl is POST /_dev/members/{name}/kill, under `fte dev` only: what the
// playground's button calls. It signals the process that dev.json names.
func devControl(dir, token string) http.Handler {
	signals := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "TERM": syscall.SIGTERM}
	refuse := func(w http.ResponseWriter, status int, detail string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(object{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there is nothing at this path")
	})
	mux.HandleFunc("/_dev/members/{name}/kill", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			refuse(w, http.StatusMethodNotAllowed, "this path takes POST only")
			return
		}
		if !bearer(r, token) {
			refuse(w, http.StatusUnauthorized, "the operator's bearer token is missing or wrong")
			return
		}
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
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(object{"name": m.Name, "pid": m.PID, "signal": in.Signal})
			return
		}
		refuse(w, http.StatusNotFound, "there is no member of this name")
	})
	return mux
}

// readDevJSON reads DIR/dev.json.
func readDevJSON(dir string) (devJSON, error) {
	var j devJSON
	path := filepath.Join(dir, "dev.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return j, fmt.Errorf("%w; is ./fte dev running here?", err)
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
