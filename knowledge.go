package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"fte/agent/knowledge"
	"fte/persistence"
)

// shipped is the knowledge base that comes with the program; `fte dev` learns it.
//
//go:embed context/knowledge
var shipped embed.FS

// learnContext learns the shipped knowledge base; unchanged articles cost nothing.
func learnContext(ctx context.Context, pool *pgxpool.Pool) error {
	docs, err := fs.Sub(shipped, "context/knowledge")
	if err != nil {
		return err
	}
	_, err = learn(ctx, pool, docs)
	return err
}

func learn(ctx context.Context, pool *pgxpool.Pool, docs fs.FS) (knowledge.Learned, error) {
	base, err := knowledge.New(persistence.NewKnowledge(pool))
	if err != nil {
		return knowledge.Learned{}, err
	}
	return base.Learn(ctx, docs)
}

// runLearn makes DIR the knowledge base: what lies there is learnt, what is not
// there any more is forgotten.
func runLearn(ctx context.Context, args []string, out io.Writer) error {
	f := flags("learn")
	dir := f.String("dir", ".fte", "folder of the running fte dev, when DATABASE_URL is not set")
	words, err := parseMixed(f, args, 1)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return fmt.Errorf("%w: name a folder of markdown files", errUsage)
	}
	if s, err := os.Stat(words[0]); err != nil || !s.IsDir() {
		return fmt.Errorf("learn %s: it is no folder", words[0])
	}
	url, err := databaseURL(*dir)
	if err != nil {
		return err
	}
	log, err := newLogger("warn", os.Stderr)
	if err != nil {
		return err
	}
	pool, err := persistence.Open(ctx, persistence.Config{URL: url, MaxConns: 2, Log: log})
	if err != nil {
		return err
	}
	defer pool.Close()
	done, err := learn(ctx, pool, os.DirFS(words[0]))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "learnt: %d changed, %d unchanged, %d forgotten\n", done.Changed, done.Unchanged, done.Forgotten)
	return nil
}
