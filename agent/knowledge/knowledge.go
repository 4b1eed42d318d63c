// Package knowledge is the knowledge base: articles in markdown, cut into
// passages, found by their words and by a local embedding together. Where the
// database keeps no vectors, words alone do.
package knowledge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"

	"fte/agent"
	"fte/support"
)

// Store keeps articles.
type Store interface {
	// LearnDocument makes doc the current version of its path, unless its sum is
	// that of the current one. changed says which.
	LearnDocument(ctx context.Context, space string, doc support.Document) (changed bool, err error)
	// DocumentPaths are the paths of all current documents.
	DocumentPaths(ctx context.Context) ([]string, error)
	// ForgetDocument makes a path have no current version. An unknown path is none.
	ForgetDocument(ctx context.Context, path string) error
	// KnowledgeCandidates returns at most limit passages of current documents that
	// hold one of terms or lie near vector in space, with what weighs the terms.
	// category may be empty. Terms and Vector of the passages need not be filled in.
	KnowledgeCandidates(ctx context.Context, terms []string, space string, vector []float32, category string, limit int) (support.Candidates, error)
}

// Base is a knowledge base over a Store. It implements agent.Knowledge and is safe
// for concurrent use.
type Base struct {
	store Store

	mu    sync.Mutex         // guards known
	known map[string]weighed // by chunk id; chunks never change
}

// weighed is a passage as the ranking sees it.
type weighed struct {
	title, heading, body map[string]bool
	vector               []float32
}

// New returns the knowledge base that store keeps.
func New(store Store) (*Base, error) {
	if store == nil {
		return nil, errors.New("make knowledge base: no store")
	}
	return &Base{store: store, known: map[string]weighed{}}, nil
}

// Learned counts what Learn did.
type Learned struct{ Changed, Unchanged, Forgotten int }

// Learn makes the knowledge base hold exactly the markdown files of fsys. Files
// that did not change cost nothing; those that are gone are forgotten. A folder
// without any is refused: it is more likely a wrong path than a wish.
func (b *Base) Learn(ctx context.Context, fsys fs.FS) (Learned, error) {
	var done Learned
	var docs []support.Document // all are read before any is learnt
	seen := map[string]bool{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".md" {
			return err
		}
		source, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if !utf8.Valid(source) || bytes.IndexByte(source, 0) >= 0 {
			return fmt.Errorf("%s is no text in UTF-8", name)
		}
		doc := Parse(name, source)
		if len(doc.Chunks) == 0 || strings.EqualFold(path.Base(name), "README.md") {
			return nil
		}
		seen[name], docs = true, append(docs, doc)
		return nil
	})
	if err != nil {
		return done, fmt.Errorf("learn articles: %w", err)
	}
	if len(seen) == 0 {
		return done, errors.New("learn articles: the folder holds no article in markdown")
	}
	for _, doc := range docs {
		changed, err := b.store.LearnDocument(ctx, Space, doc)
		if err != nil {
			return done, fmt.Errorf("learn %s: %w", doc.Path, err)
		}
		if changed {
			done.Changed++
		} else {
			done.Unchanged++
		}
	}
	known, err := b.store.DocumentPaths(ctx)
	if err != nil {
		return done, fmt.Errorf("learn articles: list what is known: %w", err)
	}
	for _, name := range known {
		if seen[name] {
			continue
		}
		if err := b.store.ForgetDocument(ctx, name); err != nil {
			return done, fmt.Errorf("forget %s: %w", name, err)
		}
		done.Forgotten++
	}
	return done, nil
}

// How similar a passage must be to count as found at all.
const foundAt = 0.45

// terms of a query beyond these are left out.
const maxTerms = 32

// candidates of words and of nearness each that are weighed. The database ranks
// words without their rarity, so the best may stand far down its list: of 190
// passages, 40 left out some.
const candidates = 100

// Search implements agent.Knowledge. Similarity is how much of the query's
// meaning the passage covers: each term weighs by its rarity, counts in full in
// title and heading and less in the text; nearness of the embeddings fills up.
func (b *Base) Search(ctx context.Context, query string, limit int, category string) ([]agent.Hit, error) {
	terms := distinct(Terms(query))
	if len(terms) == 0 || limit < 1 {
		return nil, nil
	}
	terms = terms[:min(len(terms), maxTerms)]
	vector := Embed(query)
	found, err := b.store.KnowledgeCandidates(ctx, terms, Space, vector, category, candidates)
	if err != nil {
		return nil, fmt.Errorf("search knowledge: %w", err)
	}
	var hits []agent.Hit
	for _, c := range found.Chunks {
		if s := similarity(terms, vector, b.weigh(c), found); s >= foundAt {
			hits = append(hits, agent.Hit{Title: c.Title, Heading: c.Heading, Path: c.Path, Starts: c.Starts, Ends: c.Ends, Category: c.Category, Text: c.Text, Similarity: s})
		}
	}
	sort.SliceStable(hits, func(i, j int) bool {
		a, b := hits[i], hits[j]
		if a.Similarity != b.Similarity {
			return a.Similarity > b.Similarity
		}
		if a.Path != b.Path {
			return a.Path < b.Path
		}
		return a.Starts < b.Starts
	})
	hits = hits[:min(len(hits), limit)]
	for i := range hits {
		hits[i].Similarity = min(1, hits[i].Similarity)
	}
	return hits, nil
}

func distinct(terms []string) []string {
	var d []string
	for _, t := range terms {
		if !slices.Contains(d, t) {
			d = append(d, t)
		}
	}
	return d
}

// Where a term stands decides how much of it counts.
const (
	inTitle   = 1.0
	inHeading = 1.0
	inText    = 0.8
)

// weigh reads a passage for the ranking, once.
func (b *Base) weigh(c support.Chunk) weighed {
	b.mu.Lock()
	w, ok := b.known[c.ID]
	b.mu.Unlock()
	if ok && c.ID != "" {
		return w
	}
	w = weighed{set(Terms(c.Title)), set(Terms(c.Heading)), set(Terms(c.Text)), vectorOf(c)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.known) >= 20_000 { // of a base that is far larger than is useful here
		clear(b.known)
	}
	if c.ID != "" {
		b.known[c.ID] = w
	}
	return w
}

func vectorOf(c support.Chunk) []float32 { return Embed(c.Title + "\n" + c.Heading + "\n" + c.Text) }

func similarity(terms []string, vector []float32, c weighed, all support.Candidates) float64 {
	title, heading, body := c.title, c.heading, c.body
	var covered, whole, subject float64
	for _, t := range terms {
		w := math.Log(1 + float64(all.Total+1)/(0.5+float64(all.With[t])))
		if all.With[t] == 0 {
			w = math.Log(1+float64(all.Total+1)/1.5) * 0.6 // a word nobody wrote of: often a name or a typing error
		}
		whole += w
		switch {
		case title[t]:
			covered += inTitle * w
			subject += w
		case heading[t]:
			covered += inHeading * w
			subject += w
		case body[t]:
			covered += inText * w
		}
	}
	if whole == 0 {
		return 0
	}
	s := covered / whole
	if subject == 0 {
		s *= 0.85 // no word of the question is what the passage is about
	}
	near := 0.0
	for i := range vector {
		near += float64(vector[i]) * float64(c.vector[i])
	}
	return s + 0.1*max(0, near)*(1-s) + 0.02*aboutness(terms, title) + 0.06*aboutness(terms, heading)
}

// aboutness is how much of the title the query names.
func aboutness(terms []string, title map[string]bool) float64 {
	if len(title) == 0 {
		return 0
	}
	n := 0
	for _, t := range terms {
		if title[t] {
			n++
		}
	}
	return float64(n) / float64(len(title))
}

func set(terms []string) map[string]bool {
	m := map[string]bool{}
	for _, t := range terms {
		m[t] = true
	}
	return m
}
