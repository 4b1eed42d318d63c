package knowledge_test

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/agent/knowledge"
	"fte/persistence"
	"fte/persistence/persistencetest"
)

func learned(t *testing.T) *knowledge.Base { return learnt(t, &knowledge.Memory{}) }

func learnt(t *testing.T, store knowledge.Store) *knowledge.Base {
	t.Helper()
	b, err := knowledge.New(store)
	require.NoError(t, err)
	_, err = b.Learn(t.Context(), os.DirFS("../../context/knowledge"))
	require.NoError(t, err)
	return b
}

type asked struct {
	Question string `json:"question"`
	Path     string `json:"path"`
	Heading  string `json:"heading,omitempty"`
}

func questions(t *testing.T) []asked {
	t.Helper()
	f, err := os.Open("testdata/questions.jsonl")
	require.NoError(t, err)
	defer f.Close()
	var all []asked
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var q asked
		require.NoError(t, json.Unmarshal(lines.Bytes(), &q))
		all = append(all, q)
	}
	return all
}

// channels.md §5.5: recall@5 of at least 0.9. The first hit is what the local
// model answers from, so it is held to 0.85 (product.md, answer accuracy). On
// Postgres with embeddings, on Postgres without, and in memory.
func TestSearchFindsTheRightArticle(t *testing.T) {
	all := questions(t)
	require.GreaterOrEqual(t, len(all), 100)
	t.Run("in memory", func(t *testing.T) { measure(t, learned(t), all) })
	t.Run("on Postgres with embeddings", func(t *testing.T) {
		pool := persistencetest.Pool(t)
		b := learnt(t, persistence.NewKnowledge(pool))
		var vectors, passages int
		if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM knowledge_embeddings WHERE space = $1", knowledge.Space).Scan(&vectors); err != nil {
			t.Skip("this server has no vector extension: ", err)
		}
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM knowledge_chunks").Scan(&passages))
		require.Equal(t, passages, vectors, "every passage has its embedding")
		measure(t, b, all)
	})
	t.Run("on Postgres by words alone", func(t *testing.T) {
		pool := persistencetest.Pool(t)
		_, err := pool.Exec(t.Context(), "DROP TABLE IF EXISTS knowledge_embeddings")
		require.NoError(t, err)
		measure(t, learnt(t, persistence.NewKnowledge(pool)), all)
	})
}

func measure(t *testing.T, b *knowledge.Base, all []asked) {
	first, five, article := 0, 0, 0
	for _, q := range all {
		hits, err := b.Search(t.Context(), q.Question, 5, "")
		require.NoError(t, err)
		inArticle := false
		for i, h := range hits {
			require.GreaterOrEqual(t, h.Similarity, 0.0)
			require.LessOrEqual(t, h.Similarity, 1.0)
			inArticle = inArticle || h.Path == q.Path
			if h.Path == q.Path && (q.Heading == "" || h.Heading == q.Heading) {
				five++
				if i == 0 {
					first++
				}
				break
			}
		}
		if inArticle {
			article++
		}
		if len(hits) == 0 || hits[0].Path != q.Path || q.Heading != "" && hits[0].Heading != q.Heading {
			got := "nothing"
			if len(hits) > 0 {
				got = hits[0].Path + " / " + hits[0].Heading
			}
			t.Logf("%q: want %s %s, got %s", q.Question, q.Path, q.Heading, got)
		}
	}
	t.Logf("of %d: the right passage first %d, among five %d; the right article among five %d", len(all), first, five, article)
	require.GreaterOrEqual(t, float64(five)/float64(len(all)), 0.9)
	require.GreaterOrEqual(t, float64(first)/float64(len(all)), 0.85)
}

// The database's candidates lead to the same hits as ranking everything does.
func TestPostgresFindsWhatMemoryFinds(t *testing.T) {
	m, p := learned(t), learnt(t, persistence.NewKnowledge(persistencetest.Pool(t)))
	for _, q := range questions(t) {
		want, err := m.Search(t.Context(), q.Question, 3, "")
		require.NoError(t, err)
		got, err := p.Search(t.Context(), q.Question, 3, "")
		require.NoError(t, err)
		require.Equal(t, want, got, q.Question)
	}
}

func TestSearchFindsNothingOffTheSubject(t *testing.T) {
	b := learned(t)
	for _, q := range []string{"What is the capital of Mongolia?", "Can you write me a poem about autumn?", "My washing machine leaks water", "asdf qwer zxcv", "", "???", "the and of"} {
		hits, err := b.Search(t.Context(), q, 5, "")
		require.NoError(t, err)
		require.Empty(t, hits, q)
	}
}

func TestSearchKeepsToTheCategory(t *testing.T) {
	hits, err := learned(t).Search(t.Context(), "reset password", 5, "technical")
	require.NoError(t, err)
	for _, h := range hits {
		require.Equal(t, "technical", h.Category)
	}
}

// A citation's offsets lead to the passage in the source.
func TestCitationsLeadToTheSource(t *testing.T) {
	hits, err := learned(t).Search(t.Context(), "reset my password", 1, "")
	require.NoError(t, err)
	require.Len(t, hits, 1)
	source, err := os.ReadFile("../../context/knowledge/" + hits[0].Path)
	require.NoError(t, err)
	cited := string(source[hits[0].Starts:hits[0].Ends])
	require.Contains(t, cited, "valid for 30 minutes")
	require.NotContains(t, cited, "#")
}

func TestParse(t *testing.T) {
	d := knowledge.Parse("a/b.md", []byte("# Title\n\nFirst *words* [here](https://x.example).\n\n<script>bad()</script>\n\n## Part\n\n1. one\n2. two `code`\n\n- x\n  more\n"))
	require.Equal(t, "Title", d.Title)
	require.Equal(t, "a", d.Category)
	require.Len(t, d.Chunks, 2)
	require.Equal(t, "First words here.", d.Chunks[0].Text)
	require.Equal(t, "Title", d.Chunks[0].Heading)
	require.Equal(t, "1. one\n2. two code\n- x more", d.Chunks[1].Text)
	require.Equal(t, "Part", d.Chunks[1].Heading)
}

func TestLearnReplacesAndForgets(t *testing.T) {
	m := &knowledge.Memory{}
	b, err := knowledge.New(m)
	require.NoError(t, err)
	write := func(dir, name, text string) {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte(text), 0o600))
	}
	dir := t.TempDir()
	write(dir, "a.md", "# Apples\n\nAbout apples.")
	write(dir, "b.md", "# Pears\n\nAbout pears.")
	got, err := b.Learn(t.Context(), os.DirFS(dir))
	require.NoError(t, err)
	require.Equal(t, knowledge.Learned{Changed: 2}, got)
	write(dir, "a.md", "# Apples\n\nAbout red apples.")
	require.NoError(t, os.Remove(dir+"/b.md"))
	got, err = b.Learn(t.Context(), os.DirFS(dir))
	require.NoError(t, err)
	require.Equal(t, knowledge.Learned{Changed: 1, Forgotten: 1}, got)
	_, err = b.Learn(t.Context(), os.DirFS(t.TempDir()))
	require.Error(t, err, "an empty folder is a wrong path")
	write(dir, "a.md", "# Apples\n\nAbout green apples.")
	write(dir, "z.md", "# Zebras\n\n\xff\xfe")
	_, err = b.Learn(t.Context(), os.DirFS(dir))
	require.ErrorContains(t, err, "z.md is no text in UTF-8")
	require.NoError(t, os.Remove(dir+"/z.md"))
	got, err = b.Learn(t.Context(), os.DirFS(dir))
	require.NoError(t, err)
	require.Equal(t, knowledge.Learned{Changed: 1}, got, "a folder that was refused taught nothing")
}

func TestEmbedIsStable(t *testing.T) {
	a, b := knowledge.Embed("Reset your password"), knowledge.Embed("reset your PASSWORD!")
	require.Equal(t, a, b)
	require.Len(t, a, knowledge.Dimensions)
	require.Equal(t, make([]float32, knowledge.Dimensions), knowledge.Embed("the of and"))
}
