package agent_test

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/support"
)

type labelled struct {
	Text   string         `json:"text"`
	Reason support.Reason `json:"reason"` // empty: ordinary
}

func labels(t *testing.T, file string) []labelled {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	require.NoError(t, err)
	defer f.Close()
	var all []labelled
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var l labelled
		require.NoError(t, json.Unmarshal(lines.Bytes(), &l))
		all = append(all, l)
	}
	return all
}

// channels.md LL-09 and §10.1: recall of at least 0.98, at most 10 % of ordinary
// messages escalated, on sets with many hard cases in 13 languages.
func TestEscalationRules(t *testing.T) {
	must, ordinary := labels(t, "escalation.jsonl"), labels(t, "ordinary.jsonl")
	require.GreaterOrEqual(t, len(must), 60)
	require.GreaterOrEqual(t, len(ordinary), 200)
	caught, right := 0, 0
	for _, l := range must {
		got := agent.Escalation(l.Text)
		if len(got) == 0 {
			t.Logf("missed, %s: %q", l.Reason, l.Text)
			continue
		}
		caught++
		if slices.Contains(got, l.Reason) {
			right++
		} else {
			t.Logf("wrong reason, %v for %s: %q", got, l.Reason, l.Text)
		}
	}
	wrong := 0
	for _, l := range ordinary {
		if got := agent.Escalation(l.Text); len(got) > 0 {
			wrong++
			t.Logf("ordinary, but %v: %q", got, l.Text)
		}
	}
	t.Logf("caught %d of %d, reason right for %d; %d of %d ordinary ones escalated", caught, len(must), right, wrong, len(ordinary))
	require.GreaterOrEqual(t, float64(caught)/float64(len(must)), 0.98)
	require.GreaterOrEqual(t, float64(right)/float64(len(must)), 0.95)
	require.LessOrEqual(t, float64(wrong)/float64(len(ordinary)), 0.10)
}

func TestPrimaryReasonComesFirst(t *testing.T) {
	for text, want := range map[string][]support.Reason{
		"This is unacceptable! I want my money back or my lawyer will call you. Get me a human.": {support.ReasonLegal, support.ReasonRefund, support.ReasonHuman, support.ReasonAngry},
		"How do I add a column?": nil,
		"":                       nil,
		"REFUND":                 {support.ReasonRefund},
		"I want a r\u200befund":  {support.ReasonRefund},
		"I want a ｒｅｆｕｎｄ":        {support.ReasonRefund},
		"I want a rеfund":        {support.ReasonRefund}, // a Cyrillic е
	} {
		require.Equal(t, want, agent.Escalation(text), text)
	}
}

func TestLongTextsAreReadAtBothEnds(t *testing.T) {
	filling := strings.Repeat("The board has columns. ", 10_000)
	require.Equal(t, []support.Reason{support.ReasonRefund}, agent.Escalation("I want my money back. "+filling))
	require.Equal(t, []support.Reason{support.ReasonRefund}, agent.Escalation(filling+"I want my money back."))
	require.Empty(t, agent.Escalation(filling))
}
