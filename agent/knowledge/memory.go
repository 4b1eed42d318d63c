package knowledge

import (
	"bytes"
	"context"
	"strings"

	"fte/support"
)

// Memory is a Store in memory, for tests and tools without a database. It is not
// safe for concurrent learning.
type Memory struct{ docs map[string]support.Document }

// LearnDocument implements Store.
func (m *Memory) LearnDocument(_ context.Context, _ string, doc support.Document) (bool, error) {
	if old, ok := m.docs[doc.Path]; ok && bytes.Equal(old.Sum, doc.Sum) {
		return false, nil
	}
	if m.docs == nil {
		m.docs = map[string]support.Document{}
	}
	m.docs[doc.Path] = doc
	return true, nil
}

// DocumentPaths implements Store.
func (m *Memory) DocumentPaths(context.Context) ([]string, error) {
	var paths []string
	for p := range m.docs {
		paths = append(paths, p)
	}
	return paths, nil
}

// ForgetDocument implements Store.
func (m *Memory) ForgetDocument(_ context.Context, path string) error {
	delete(m.docs, path)
	return nil
}

// KnowledgeCandidates implements Store: all passages are candidates.
func (m *Memory) KnowledgeCandidates(_ context.Context, terms []string, _ string, _ []float32, category string, _ int) (support.Candidates, error) {
	found := support.Candidates{With: map[string]int{}}
	for _, d := range m.docs {
		for _, c := range d.Chunks {
			found.Total++
			has := set(strings.Fields(strings.Join(c.Terms[:], " ")))
			for _, t := range terms {
				if has[t] {
					found.With[t]++
				}
			}
			if category == "" || category == d.Category {
				found.Chunks = append(found.Chunks, c)
			}
		}
	}
	return found, nil
}
