package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

// A saved run is judged again, and the exit code says what came of it.
func TestChaosCheckExitCodes(t *testing.T) {
	lost := checker.Op{Client: "c", Customer: "c", Address: "whatsapp:+14155550100", Channel: "whatsapp", ExternalID: "SM1", Call: 1, Return: 2, Status: 200, Outcome: checker.OK}
	for name, c := range map[string]struct {
		run  checker.Run
		code int
		says string
	}{
		"a message was lost":  {checker.Run{Dump: &checker.Dump{}, History: []checker.Op{lost}}, 1, "I1"},
		"nothing happened":    {checker.Run{Dump: &checker.Dump{}}, 3, "nothing was injected"},
		"everything errored":  {checker.Run{Dump: &checker.Dump{}, History: []checker.Op{{Client: "c", Address: "a", Channel: "whatsapp", ExternalID: "SM2", Call: 1, Return: checker.Never, Outcome: checker.Unknown}}}, 3, "0 of 1"},
		"a fault never fired": {checker.Run{Dump: &checker.Dump{}, Faults: []checker.Fault{{Kind: "kill", Target: "worker-1"}}}, 3, "never fired"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, c.run.Save(dir))
			var out, errs bytes.Buffer
			require.Equal(t, c.code, run(t.Context(), []string{"chaos", "check", dir}, &out, &errs), errs.String())
			require.Contains(t, out.String(), c.says)
		})
	}
}

func TestChaosWrongUse(t *testing.T) {
	for _, args := range [][]string{{"chaos"}, {"chaos", "prove"}, {"chaos", "check"}, {"chaos", "run", "-target", "k8s"}, {"chaos", "run", "-duration", "-1s"}, {"chaos", "run", "-no-such-flag"}} {
		var out, errs bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, &out, &errs), "%v: %s", args, errs.String())
	}
	var out, errs bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"chaos", "run", "-faults", "N99"}, &out, &errs))
	require.Contains(t, errs.String(), `no "N99"`)
	require.Equal(t, 1, run(t.Context(), []string{"chaos", "check", t.TempDir()}, &out, &errs))
}
