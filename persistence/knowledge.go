package persistence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgvector/pgvector-go"

	"fte/support"
)

// Knowledge keeps the articles of the knowledge base. It works without the vector
// extension, by words alone.
type Knowledge struct {
	pool    *pgxpool.Pool
	vectors atomic.Bool // the table of embeddings was seen; it never goes away
}

// NewKnowledge returns the articles that the pool's database keeps.
func NewKnowledge(pool *pgxpool.Pool) *Knowledge { return &Knowledge{pool: pool} }

// hasVectors says whether embeddings are kept.
func (k *Knowledge) hasVectors(ctx context.Context) (bool, error) {
	if k.vectors.Load() {
		return true, nil
	}
	var has bool
	if err := k.pool.QueryRow(ctx, "SELECT to_regclass('knowledge_embeddings') IS NOT NULL").Scan(&has); err != nil {
		return false, fmt.Errorf("look for the table of embeddings: %w", err)
	}
	k.vectors.Store(has)
	return has, nil
}

// LearnDocument makes doc the current version of its path and says whether
// anything changed: an article of the same sum stays as it is. Older versions are
// kept, since journals cite them.
func (k *Knowledge) LearnDocument(ctx context.Context, space string, doc support.Document) (changed bool, err error) {
	vectors, err := k.hasVectors(ctx)
	if err != nil {
		return false, fmt.Errorf("learn document %s: %w", doc.Path, err)
	}
	err = pgx.BeginFunc(ctx, k.pool, func(tx pgx.Tx) error {
		changed, err = learn(ctx, tx, space, doc, vectors)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("learn document %s: %w", doc.Path, err)
	}
	return changed, nil
}

func learn(ctx context.Context, tx pgx.Tx, space string, doc support.Document, vectors bool) (bool, error) {
	var id uuid.UUID
	var version int
	var sum []byte
	// Two processes that learn the same folder take turns, article by article.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('knowledge ' || $1, 0))", doc.Path); err != nil {
		return false, err
	}
	err := tx.QueryRow(ctx, "SELECT id, sha256 FROM knowledge_documents WHERE path = $1 AND current", doc.Path).Scan(&id, &sum)
	switch {
	case err == nil && bytes.Equal(sum, doc.Sum):
		if !vectors {
			return false, nil
		}
		return embed(ctx, tx, space, id, doc)
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return false, err
	}
	if id, err = uuid.NewV7(); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, "UPDATE knowledge_documents SET current = false WHERE path = $1 AND current", doc.Path); err != nil {
		return false, err
	}
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) + 1 FROM knowledge_documents WHERE path = $1", doc.Path).Scan(&version); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO knowledge_documents (id, path, version, title, category, sha256) VALUES ($1, $2, $3, $4, $5, $6)`,
		id, doc.Path, version, doc.Title, doc.Category, doc.Sum); err != nil {
		return false, err
	}
	var b pgx.Batch
	for _, c := range doc.Chunks {
		chunk, err := uuid.NewV7()
		if err != nil {
			return false, err
		}
		b.Queue(`
			INSERT INTO knowledge_chunks (id, document_id, n, heading, starts, ends, text, tsv)
			VALUES ($1, $2, $3, $4, $5, $6, $7,
			        setweight(to_tsvector('simple', $8), 'A') || setweight(to_tsvector('simple', $9), 'B') || to_tsvector('simple', $10))`,
			chunk, id, c.N, c.Heading, c.Starts, c.Ends, c.Text, c.Terms[0], c.Terms[1], c.Terms[2])
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return false, err
	}
	if vectors {
		if _, err := embed(ctx, tx, space, id, doc); err != nil {
			return false, err
		}
	}
	return true, nil
}

// embed stores the vectors of a document's passages that the space has not yet.
func embed(ctx context.Context, tx pgx.Tx, space string, document uuid.UUID, doc support.Document) (bool, error) {
	added := false
	for _, c := range doc.Chunks {
		if c.Vector == nil {
			continue
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO knowledge_embeddings (space, chunk, embedding)
			SELECT $1, id, $4 FROM knowledge_chunks WHERE document_id = $2 AND n = $3
			ON CONFLICT DO NOTHING`, space, document, c.N, pgvector.NewVector(c.Vector))
		if err != nil {
			return false, err
		}
		added = added || tag.RowsAffected() > 0
	}
	return added, nil
}

// DocumentPaths lists the paths of all current documents.
func (k *Knowledge) DocumentPaths(ctx context.Context) ([]string, error) {
	rows, err := k.pool.Query(ctx, "SELECT path FROM knowledge_documents WHERE current ORDER BY path")
	if err != nil {
		return nil, fmt.Errorf("list documents: %w", err)
	}
	paths, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list documents: %w", err)
	}
	return paths, nil
}

// ForgetDocument makes a path have no current version.
func (k *Knowledge) ForgetDocument(ctx context.Context, path string) error {
	if _, err := k.pool.Exec(ctx, "UPDATE knowledge_documents SET current = false WHERE path = $1 AND current", path); err != nil {
		return fmt.Errorf("forget document %s: %w", path, err)
	}
	return nil
}

// KnowledgeCandidates returns passages of current documents that hold one of
// terms, or lie near vector where embeddings are kept, at most limit of either,
// and in how many passages each term stands. terms are stems of letters and
// figures.
func (k *Knowledge) KnowledgeCandidates(ctx context.Context, terms []string, space string, vector []float32, category string, limit int) (support.Candidates, error) {
	found := support.Candidates{With: map[string]int{}}
	vectors, err := k.hasVectors(ctx)
	if err != nil {
		return found, fmt.Errorf("find passages: %w", err)
	}
	var b pgx.Batch
	b.Queue(`
		SELECT t.term, (SELECT count(*) FROM knowledge_chunks c JOIN knowledge_documents d ON d.id = c.document_id
		                WHERE d.current AND c.tsv @@ plainto_tsquery('simple', t.term))
		FROM unnest($1::text[]) AS t (term)
		UNION ALL
		SELECT '', (SELECT count(*) FROM knowledge_chunks c JOIN knowledge_documents d ON d.id = c.document_id WHERE d.current)`, terms)
	b.Queue(passages+`
		WHERE d.current AND ($2 = '' OR d.category = $2) AND c.tsv @@ websearch_to_tsquery('simple', $1)
		ORDER BY ts_rank(c.tsv, websearch_to_tsquery('simple', $1)) DESC, c.id
		LIMIT $3`, strings.Join(terms, " or "), category, limit)
	if vectors && len(vector) > 0 {
		b.Queue(passages+`
			JOIN knowledge_embeddings e ON e.chunk = c.id AND e.space = $1
			WHERE d.current AND ($2 = '' OR d.category = $2)
			ORDER BY e.embedding <=> $3, c.id
			LIMIT $4`, space, category, pgvector.NewVector(vector), limit)
	}
	results := k.pool.SendBatch(ctx, &b)
	defer results.Close()
	if found.Total, err = counts(results, found.With); err != nil {
		return found, fmt.Errorf("find passages: count words: %w", err)
	}
	seen := map[string]bool{}
	for range b.Len() - 1 {
		rows, err := results.Query()
		if err != nil {
			return found, fmt.Errorf("find passages: %w", err)
		}
		chunks, err := pgx.CollectRows(rows, scanChunk)
		if err != nil {
			return found, fmt.Errorf("find passages: %w", err)
		}
		for _, c := range chunks {
			if !seen[c.ID] {
				seen[c.ID] = true
				found.Chunks = append(found.Chunks, c)
			}
		}
	}
	return found, nil
}

const passages = `
		SELECT c.id::text, d.path, d.title, d.category, c.n, c.heading, c.starts, c.ends, c.text
		FROM knowledge_chunks c
		JOIN knowledge_documents d ON d.id = c.document_id`

func scanChunk(row pgx.CollectableRow) (c support.Chunk, err error) {
	err = row.Scan(&c.ID, &c.Path, &c.Title, &c.Category, &c.N, &c.Heading, &c.Starts, &c.Ends, &c.Text)
	return c, err
}

// counts reads how many passages hold each term; the empty term is all passages.
func counts(results pgx.BatchResults, with map[string]int) (total int, err error) {
	rows, err := results.Query()
	if err != nil {
		return 0, err
	}
	var term string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&term, &n}, func() error {
		if term == "" {
			total = n
		} else {
			with[term] = n
		}
		return nil
	})
	return total, err
}
