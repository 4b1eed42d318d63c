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

// score is how the rules do on labelled messages.
type score struct{ must, caught, right, ordinary, wrong int }

func (s score) recall() float64        { return float64(s.caught) / float64(s.must) }
func (s score) falsePositive() float64 { return float64(s.wrong) / float64(s.ordinary) }

// weigh scores the rules on every step-th message of the two files from first on
// and tells of every miss, unless it is to stay unread.
func weigh(t *testing.T, escalate, ordinary string, first, step int, tell bool) (s score) {
	t.Helper()
	say := func(format string, args ...any) {
		if tell {
			t.Logf(format, args...)
		}
	}
	every := func(all []labelled) (some []labelled) {
		for i := first; i < len(all); i += step {
			some = append(some, all[i])
		}
		return some
	}
	for _, l := range append(every(labels(t, escalate)), every(labels(t, ordinary))...) {
		got := agent.Escalation(l.Text)
		switch {
		case l.Reason == "":
			s.ordinary++
			if len(got) > 0 {
				s.wrong++
				say("ordinary, but %v: %q", got, l.Text)
			}
			continue
		case len(got) == 0:
			say("missed, %s: %q", l.Reason, l.Text)
		case !slices.Contains(got, l.Reason):
			s.caught++
			say("wrong reason, %v for %s: %q", got, l.Reason, l.Text)
		default:
			s.caught, s.right = s.caught+1, s.right+1
		}
		s.must++
	}
	t.Logf("caught %d of %d, reason right for %d; %d of %d ordinary ones escalated", s.caught, s.must, s.right, s.wrong, s.ordinary)
	return s
}

// channels.md LL-09 and §10.1: recall of at least 0.98, at most 10 % of ordinary
// messages escalated, on sets with many hard cases in 13 languages. The lexicon
// was tuned on these.
func TestEscalationRules(t *testing.T) {
	s := weigh(t, "escalation.jsonl", "ordinary.jsonl", 0, 1, true)
	require.GreaterOrEqual(t, s.must, 60)
	require.GreaterOrEqual(t, s.ordinary, 200)
	require.GreaterOrEqual(t, s.recall(), 0.98)
	require.GreaterOrEqual(t, float64(s.right)/float64(s.must), 0.95)
	require.LessOrEqual(t, s.falsePositive(), 0.10)
}

// Messages written before their author read a rule. The even ones served the work
// on the lexicon; the odd ones are held out: do not read what the rules miss of
// them, or they hold nothing out any more.
func TestEscalationRulesOnIndependentMessages(t *testing.T) {
	for half, name := range []string{"development", "held out"} {
		wrong := []float64{0.05, 0.08}[half] // the held-out half reached 8 of 125
		t.Run(name, func(t *testing.T) {
			s := weigh(t, "independent_escalation.jsonl", "independent_ordinary.jsonl", half, 2, half == 0)
			require.Equal(t, 75, s.must)
			require.Equal(t, 125, s.ordinary)
			require.GreaterOrEqual(t, s.recall(), 0.95)
			require.LessOrEqual(t, s.falsePositive(), wrong)
		})
	}
}

func TestHalfHiddenWordsAreAngryAndFormulasAreNot(t *testing.T) {
	require.Equal(t, []support.Reason{support.ReasonAngry}, agent.Escalation("sh*t, it lost my cards"))
	require.Equal(t, []support.Reason{support.ReasonAngry}, agent.Escalation("what the f*** happened to it"))
	require.Empty(t, agent.Escalation("Can a formula hold 2*3 or a*b, and may I filter by report*?"))
	require.Empty(t, agent.Escalation("The **bold** text is shown with its stars"))
}

func FuzzEscalation(f *testing.F) {
	for _, l := range []string{"", "*", "a*", "''", "l'", "۰۱ ـــ ー", "\xff\xfe", "#1st time", "i want my m0ney b@ck"} {
		f.Add(l)
	}
	f.Fuzz(func(t *testing.T, text string) {
		reasons := agent.Escalation(text)
		require.Len(t, slices.Compact(slices.Clone(reasons)), len(reasons))
	})
}

// Nobody who may come to harm waits behind an ordinary question.
func TestDangerComesFirst(t *testing.T) {
	for _, file := range []string{"escalation.jsonl", "independent_escalation.jsonl"} {
		for _, l := range labels(t, file) {
			if l.Reason == support.ReasonSafety {
				require.Equal(t, support.ReasonSafety, append(agent.Escalation(l.Text), "")[0], l.Text)
			}
		}
	}
}

// The rules run before every turn; 1.5 ms for a message is what they may take.
func BenchmarkEscalation(b *testing.B) {
	text := strings.Repeat("Hello, we plan our work on two boards and I cannot find how to share one with a guest. ", 4)[:300]
	for b.Loop() {
		agent.Escalation(text)
	}
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
