package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build returns the program to test: FTE_BIN where that is set, else a binary
// built into dir with these build tags. FTE_CHAOS_RACE=1 builds it with the race detector, which makes
// every time that is measured several times longer.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	if bin := os.Getenv("FTE_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("build fte: find the module: %w", err)
	}
	bin := filepath.Join(dir, "fte")
	args := []string{"build", "-o", bin}
	if os.Getenv("FTE_CHAOS_RACE") == "1" {
		args = append(args, "-race")
	}
	if len(tags) > 0 {
		args = append(args, "-tags", strings.Join(tags, ","))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build fte: %w: %s", err, out)
	}
	return bin, nil
}
