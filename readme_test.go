package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each promise of the README cites the tests that hold it: they must exist.
func TestThePromisesCiteTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	cited := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || !strings.Contains(line, "Test") {
			continue
		}
		folder := ""
		for _, word := range regexp.MustCompile("`[a-z/.]+`|Test[A-Za-z0-9]+").FindAllString(line[strings.LastIndex(strings.TrimRight(line, "| \n"), "|"):], -1) {
			if strings.HasPrefix(word, "`") {
				folder = strings.Trim(word, "`")
				continue
			}
			cited++
			require.True(t, declares(t, folder, word), "%s has no %s", folder, word)
		}
	}
	require.Greater(t, cited, 20)
}

// declares reports whether a test file of the folder declares the test.
func declares(t *testing.T, folder, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	require.NoError(t, err)
	for _, f := range files {
		source, err := os.ReadFile(f)
		require.NoError(t, err)
		if strings.Contains(string(source), "func "+test+"(t *testing.T)") {
			return true
		}
	}
	return false
}
