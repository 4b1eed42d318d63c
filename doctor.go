package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// finding is a line of `fte doctor`: how something is, and what to do about it.
type finding struct {
	level, name, what, todo string // level: ok, warn or FAIL
}

func (f finding) String() string {
	line := f.level + strings.Repeat(" ", 5-len(f.level)) + f.name + ": " + oneLine(f.what)
	if f.todo != "" {
		line += ", " + f.todo
	}
	return line
}

func ok(name, format string, args ...any) finding {
	return finding{"ok", name, fmt.Sprintf(format, args...), ""}
}

func warn(name, what, todo string) finding { return finding{"warn", name, what, todo} }
func fail(name, what, todo string) finding { return finding{"FAIL", name, what, todo} }

// doctor checks one configuration.
type doctor struct {
	cfg  Config
	dial *dialer
	http *http.Client
	sim  string // base URL of simulated vendors under fte dev; empty elsewhere
	api  *operator
}

// checkTime bounds one check.
const checkTime = 15 * time.Second

var errUnwell = errors.New("something is not as it must be")

// runDoctor checks every setting and credential against its vendor or server:
// those of the environment, or with a running fte dev in -dir, its own.
func runDoctor(ctx context.Context, args []string, out io.Writer) error {
	f := flags("doctor")
	dir := f.String("dir", ".fte", "folder of the running fte dev")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	given := false
	f.Visit(func(x *flag.Flag) { given = given || x.Name == "dir" })
	d, first, err := newDoctor(*dir, given)
	if err != nil {
		return err
	}
	failed := 0
	say := func(all ...finding) {
		for _, f := range all {
			if f.level == "FAIL" {
				failed++
			}
			fmt.Fprintln(out, f)
		}
	}
	say(first...)
	for _, check := range []func(context.Context) []finding{d.files, d.postgres, d.kafka, d.publicURL, d.twilio, d.gmail, d.openai, d.running} {
		bounded, cancel := context.WithTimeout(ctx, checkTime)
		say(check(bounded)...)
		cancel()
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d of the lines above say FAIL", errUnwell, failed)
	}
	return nil
}

// newDoctor reads the settings. A fte dev is asked where -dir is given or where
// the environment names no database.
func newDoctor(dir string, given bool) (*doctor, []finding, error) {
	d := &doctor{}
	if j, err := readDevJSON(dir); err == nil && (given || os.Getenv("DATABASE_URL") == "") {
		restore := devEnvironment(dir, j)
		defer restore()
		d.sim = j.Sim
	} else if given {
		return nil, nil, fmt.Errorf("check the fte dev in %s: %w", dir, err)
	}
	env.Parse(&d.cfg) // what cannot be read is named by loadConfig
	d.cfg.Roles = allRoles
	first := []finding{}
	if _, err := loadConfig(allRoles); err != nil {
		_, list, _ := strings.Cut(err.Error(), ": ")
		for _, one := range strings.Split(list, "; ") {
			name, what, _ := strings.Cut(one, ": ")
			first = append(first, fail(name, what, "fte serve -h says what it is"))
		}
	} else {
		first = append(first, ok("settings", "all can be read; FTE_ENV is %s", d.cfg.Env))
	}
	var err error
	if d.dial, err = newDialer(d.cfg.SOCKS5, "doctor"); err != nil {
		return nil, nil, err
	}
	d.http = d.dial.client(checkTime)
	if o, err := findOperator(dir); err == nil && (d.sim != "" || os.Getenv("FTE_API") != "") {
		d.api = o
	}
	return d, first, nil
}

// devEnvironment sets what the fte dev in dir gives its processes, until restore
// is called.
func devEnvironment(dir string, j devJSON) (restore func()) {
	var d dev
	d.dir, d.http, d.sim = dir, strings.TrimPrefix(j.HTTP, "http://"), strings.TrimPrefix(j.Sim, "http://")
	d.database, d.kafka.KafkaBrokers, d.token, d.twilio = j.DatabaseURL, j.Kafka, j.OperatorToken, "simulated"
	var undo []func()
	for _, setting := range d.settings() {
		name, value, _ := strings.Cut(setting, "=")
		old, was := os.LookupEnv(name)
		os.Setenv(name, value)
		undo = append(undo, func() {
			if os.Unsetenv(name); was {
				os.Setenv(name, old)
			}
		})
	}
	return func() {
		for _, u := range undo {
			u()
		}
	}
}

// ask makes one request and decodes a JSON answer into out.
func (d *doctor) ask(ctx context.Context, r *http.Request, out any) (status int, err error) {
	res, err := d.http.Do(r.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if out != nil && res.StatusCode < 300 {
		err = json.NewDecoder(io.LimitReader(res.Body, 4<<20)).Decode(out)
	}
	return res.StatusCode, err
}
