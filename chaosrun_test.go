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
	for _, args := range [][]string{{"chaos"}, {"chaos", "prove"}, {"chaos", "check"}, {"chaos", "run", "-target", "k8s"}, {"chaos", "run", "-duration", "-1s"}, {"chaos", "run", "-no-such-flag"},
		{"chaos", "run", "-dir", ".fte", "-runs", "2"}} {
		var out, errs bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, &out, &errs), "%v: %s", args, errs.String())
	}
	var out, errs bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"chaos", "run", "-faults", "N99"}, &out, &errs))
	require.Contains(t, errs.String(), `no "N99"`)
	require.Equal(t, 1, run(t.Context(), []string{"chaos", "run", "-dir", t.TempDir()}, &out, &errs))
	require.Contains(t, errs.String(), "attach to fte dev")
	require.Equal(t, 1, run(t.Context(), []string{"chaos", "check", t.TempDir()}, &out, &errs))
}

func TestRunsAreSummed(t *testing.T) {
	v := func(result checker.Result, fired ...string) checker.Verdict {
		v := checker.Verdict{Result: result, Measures: checker.Measures{Takeovers: 7, Fenced: 2}}
		for _, id := range fired {
			v.Measures.Strikes = append(v.Measures.Strikes, checker.Strike{Nemesis: id, Noted: 1, Fired: 1})
		}
		return v
	}
	for name, c := range map[string]struct {
		runs []checker.Verdict
		want string // of the error; none when empty
	}{
		"all valid":           {[]checker.Verdict{v(checker.Valid, "N1"), v(checker.Valid, "N3")}, ""},
		"one is violated":     {[]checker.Verdict{v(checker.Valid, "N1", "N3"), v(checker.Violated)}, "broken"},
		"one is inconclusive": {[]checker.Verdict{v(checker.Valid, "N1", "N3"), v(checker.Inconclusive)}, "too little"},
		"a fault never fired": {[]checker.Verdict{v(checker.Valid, "N1"), v(checker.Valid, "N1")}, "too little"},
	} {
		t.Run(name, func(t *testing.T) {
			var sum tally
			for _, v := range c.runs {
				sum.add(v)
			}
			var out bytes.Buffer
			err := sum.say(&out, []string{"N1", "N3"}, nil)
			require.Contains(t, out.String(), "14 changes of owner, 4 commits refused")
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}
