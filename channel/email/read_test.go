package email

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFixtures reads every mail of testdata/read: a mail, a line of equals
// signs, and the fields of `fte mail parse` that are expected of it.
func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/read/*.txt")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 60, "fixtures")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			raw, wanted, ok := bytes.Cut(b, []byte("\n=====\n"))
			require.True(t, ok, "a line of equals signs")
			var want, got map[string]any
			require.NoError(t, json.Unmarshal(wanted, &want))
			var out bytes.Buffer
			require.NoError(t, WriteParsed(&out, raw))
			require.NoError(t, json.Unmarshal(out.Bytes(), &got))
			require.NotEmpty(t, got["visible_text"], "visible text is never empty")
			if files, ok := got["attachments"].([]any); ok {
				for _, f := range files {
					delete(f.(map[string]any), "size")
				}
			}
			for field, value := range want {
				require.Equal(t, value, got[field], field)
			}
		})
	}
}

// fixtures are the mails of testdata/read.
func fixtures(t testing.TB) [][]byte {
	files, err := filepath.Glob("testdata/read/*.txt")
	require.NoError(t, err)
	var mails [][]byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		raw, _, _ := bytes.Cut(b, []byte("\n=====\n"))
		mails = append(mails, raw)
	}
	return mails
}
