package main

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/support"
)

// Production refuses a build without one of its safeties, whose name it says; the
// chaos tester's development does not. A sound build has this test run by one that
// is not.
func TestProductionRefusesAPlantedBug(t *testing.T) {
	if support.PlantedBug == support.NoBug {
		if testing.Short() {
			t.Skip("builds the program")
		}
		out, err := exec.CommandContext(t.Context(), "go", "test", "-tags", support.BugNoSweeper.Tag(), "-run", "^"+t.Name()+"$", "-v", ".").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: "+t.Name())
		return
	}
	env := good()
	setenv(t, env)
	_, err := loadConfig(allRoles)
	require.NoError(t, err, "development may have it")
	for _, production := range []string{"", "production"} { // production is what is assumed when nothing is said
		t.Setenv("FTE_ENV", production)
		_, err = loadConfig(allRoles)
		require.ErrorContains(t, err, "this build has a planted bug, "+support.PlantedBug.String())
	}
}
