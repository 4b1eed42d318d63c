package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

// written are a hundred messages on each channel that went as promised, and what
// they left in the tables.
func written() ([]letter, *checker.Dump) {
	var letters []letter
	dump := &checker.Dump{}
	at := time.Unix(1_800_000_000, 0)
	for _, channel := range []string{"email", "whatsapp", "webform"} {
		for i := range 100 {
			l := letter{Took: time.Duration(i+1) * time.Millisecond, Answered: time.Duration(i+1) * 10 * time.Millisecond}
			l.Channel, l.Outcome = channel, checker.OK
			letters = append(letters, l)
			id, seq := channel, int64(2*i+1)
			dump.Messages = append(dump.Messages, checker.Message{CustomerID: id, Seq: seq, Channel: channel, AcceptedAt: at},
				checker.Message{CustomerID: id, Seq: seq + 1, Channel: channel, AcceptedAt: at.Add(time.Second)})
			dump.Turns = append(dump.Turns, checker.Turn{CustomerID: id, InputsOf: id, Inputs: []int64{seq, seq + 1}, EndedAt: at.Add(time.Second + time.Duration(i+1)*time.Millisecond)})
		}
	}
	return letters, dump
}

func TestWhatIsAsPromisedIsMeasured(t *testing.T) {
	s := summarise(written())
	require.Empty(t, s.Broken)
	require.Len(t, s.Measures, 9)
	require.Equal(t, measure{Channel: "email", What: "accepted", N: 100, P50: .05, P95: .095, P99: .099, Max: .1, Limit: 1}, s.Measures[0])
	require.Equal(t, measure{Channel: "email", What: "processed", N: 100, P50: .05, P95: .095, P99: .099, Max: .1, Limit: 3}, s.Measures[1], "from the last message of a burst")
	require.Equal(t, measure{Channel: "webform", What: "answered", N: 100, P50: .5, P95: .95, P99: .99, Max: 1, Limit: 30}, s.Measures[8])
}

func TestEachBrokenPromiseIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		harm func([]letter, *checker.Dump) []letter
		want string
	}{
		"six in a hundred accepted late": {func(all []letter, _ *checker.Dump) []letter {
			for i := range 6 {
				all[i].Took = 1100 * time.Millisecond
			}
			return all
		}, "email: 95 % were accepted within 1.10 s, not 1 s"},
		"six in a hundred processed late": {func(all []letter, d *checker.Dump) []letter {
			for i := range 6 {
				d.Turns[100+i].EndedAt = d.Turns[100+i].EndedAt.Add(4 * time.Second)
			}
			return all
		}, "whatsapp: 95 % were processed within 4.00 s, not 3 s"},
		"six in a hundred answered late": {func(all []letter, _ *checker.Dump) []letter {
			for i := range 6 {
				all[200+i].Answered = 31 * time.Second
			}
			return all
		}, "webform: 95 % were answered within 31.00 s, not 30 s"},
		"one refused": {func(all []letter, _ *checker.Dump) []letter {
			all[0].Outcome = checker.Unknown
			return all
		}, "email: 1 of 100 were not accepted"},
		"one accepted and not answered": {func(all []letter, _ *checker.Dump) []letter {
			all[0].Answered = 0
			return all
		}, "email: 1 of 100 were not answered"},
		"a channel without customers": {func(all []letter, _ *checker.Dump) []letter { return all[:200] }, "webform: nobody wrote"},
	} {
		t.Run(name, func(t *testing.T) {
			letters, dump := written()
			require.Equal(t, []string{c.want}, summarise(c.harm(letters, dump), dump).Broken)
		})
	}
}

// One in a thousand requests may fail: the promised uptime.
func TestOneInAThousandMayFail(t *testing.T) {
	letters, dump := written()
	for range 9 {
		letters = append(letters, letters[:100]...)
	}
	letters[0].Outcome = checker.Unknown
	require.Empty(t, summarise(letters, dump).Broken)
	letters[1].Outcome = checker.Unknown
	require.Equal(t, []string{"email: 2 of 1000 were not accepted"}, summarise(letters, dump).Broken)
}

func TestOnlyPinnedFilesAreInstalled(t *testing.T) {
	text := strings.ReplaceAll(string(requirements), "\\\n", "")
	pins := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		require.Regexp(t, `^[a-z0-9-]+==[0-9][0-9.]* .*--hash=sha256:[0-9a-f]{64}`, line)
		pins++
	}
	require.Greater(t, pins, 30)
	require.Regexp(t, `^locust-\d+\.\d+\.\d+$`, pinned())
}

// What pip cannot reach is said, and leaves nothing behind.
func TestAnIndexOutOfReach(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3: fte load would say so; ./fte brings it")
	}
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", "")
	t.Setenv("PIP_CONFIG_FILE", os.DevNull)
	_, err := install(t.Context())
	require.ErrorContains(t, err, "pip must reach a package index")
	left, err := filepath.Glob(filepath.Join(cache, "fte", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestMessagesAreReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "messages")
	require.NoError(t, os.WriteFile(file, []byte(`{"channel":"webform","external_id":"t","call":5,"return":9223372036854775807,"status":0,"outcome":"unknown","took":7}
{"channel":"webform","external_id":"u","return":9,"status":200,"outcome":"ok","took":7,"answered":1000000000,"token":"x"}
`), 0o600))
	letters, err := readLetters(file)
	require.NoError(t, err)
	require.Len(t, letters, 2)
	require.Equal(t, checker.Never, letters[0].Return)
	require.Equal(t, time.Second, letters[1].Answered)
	require.Equal(t, "x", letters[1].Token)
}
