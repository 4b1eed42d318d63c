package persistence_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

func article(path, title, sum string, texts ...string) support.Document {
	d := support.Document{Path: path, Title: title, Category: "general", Sum: []byte(sum)}
	for i, s := range texts {
		d.Chunks = append(d.Chunks, support.Chunk{N: i, Heading: title, Starts: 10 * i, Ends: 10*i + 9, Text: s,
			Terms: [3]string{strings.ToLower(title), "", strings.ToLower(s)}, Vector: []float32{float32(i), 1, float32(len(s))}})
	}
	return d
}

func find(t *testing.T, k *persistence.Knowledge, term string) support.Candidates {
	t.Helper()
	found, err := k.KnowledgeCandidates(t.Context(), []string{term}, "test", nil, "", 10)
	require.NoError(t, err)
	return found
}

func TestKnowledgeKeepsTheCurrentVersion(t *testing.T) {
	k := persistence.NewKnowledge(persistencetest.Pool(t))
	changed, err := k.LearnDocument(t.Context(), "test", article("a.md", "Apples", "1", "red fruit", "green fruit"))
	require.NoError(t, err)
	require.True(t, changed)
	changed, err = k.LearnDocument(t.Context(), "test", article("a.md", "Apples", "1", "red fruit", "green fruit"))
	require.NoError(t, err)
	require.False(t, changed, "the same sum")

	found := find(t, k, "fruit")
	require.Equal(t, 2, found.Total)
	require.Equal(t, map[string]int{"fruit": 2}, found.With)
	require.Len(t, found.Chunks, 2)
	c := found.Chunks[0]
	require.Equal(t, []any{"a.md", "Apples", "general"}, []any{c.Path, c.Title, c.Category})
	require.NotEmpty(t, c.ID)

	changed, err = k.LearnDocument(t.Context(), "test", article("a.md", "Apples", "2", "yellow fruit"))
	require.NoError(t, err)
	require.True(t, changed)
	found = find(t, k, "fruit")
	require.Len(t, found.Chunks, 1)
	require.Equal(t, "yellow fruit", found.Chunks[0].Text)
	require.Empty(t, find(t, k, "red").Chunks, "older versions are not found")

	require.NoError(t, k.ForgetDocument(t.Context(), "a.md"))
	require.NoError(t, k.ForgetDocument(t.Context(), "none.md"))
	require.Zero(t, find(t, k, "fruit").Total)
	paths, err := k.DocumentPaths(t.Context())
	require.NoError(t, err)
	require.Empty(t, paths)
}

func TestKnowledgeIsLearntByManyAtOnce(t *testing.T) {
	pool := persistencetest.Pool(t)
	var g errgroup.Group
	for range 6 {
		k := persistence.NewKnowledge(pool)
		g.Go(func() error {
			_, err := k.LearnDocument(context.WithoutCancel(t.Context()), "test", article("a.md", "Apples", "1", "red fruit"))
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, find(t, persistence.NewKnowledge(pool), "fruit").Chunks, 1)
}

func TestKnowledgeWithoutVectors(t *testing.T) {
	pool := persistencetest.Pool(t)
	_, err := pool.Exec(t.Context(), "DROP TABLE IF EXISTS knowledge_embeddings")
	require.NoError(t, err)
	k := persistence.NewKnowledge(pool)
	_, err = k.LearnDocument(t.Context(), "test", article("a.md", "Apples", "1", "red fruit"))
	require.NoError(t, err)
	found, err := k.KnowledgeCandidates(t.Context(), []string{"red", "nothing"}, "test", []float32{0, 1, 9}, "", 10)
	require.NoError(t, err)
	require.Len(t, found.Chunks, 1)
	found, err = k.KnowledgeCandidates(t.Context(), []string{"red"}, "test", []float32{0, 1, 9}, "billing", 10)
	require.NoError(t, err)
	require.Empty(t, found.Chunks, "another category")
}

// An extension that comes later fills in what was learnt before, and what no word
// finds is found by nearness, within one space only.
func TestKnowledgeWithVectors(t *testing.T) {
	pool := persistencetest.Pool(t)
	var has bool
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT to_regclass('knowledge_embeddings') IS NOT NULL").Scan(&has))
	if !has {
		t.Skip("this server has no vector extension")
	}
	k := persistence.NewKnowledge(pool)
	doc := article("a.md", "Apples", "1", "red fruit")
	_, err := k.LearnDocument(t.Context(), "old", doc)
	require.NoError(t, err)
	changed, err := k.LearnDocument(t.Context(), "test", doc)
	require.NoError(t, err)
	require.True(t, changed, "the new space has no vectors yet")
	found, err := k.KnowledgeCandidates(t.Context(), []string{"nothing"}, "test", []float32{0, 1, 9}, "", 10)
	require.NoError(t, err)
	require.Len(t, found.Chunks, 1)
	found, err = k.KnowledgeCandidates(t.Context(), []string{"nothing"}, "other", []float32{0, 1, 9}, "", 10)
	require.NoError(t, err)
	require.Empty(t, found.Chunks, "spaces never mix")
}
