package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
)

// Evict has an operator declare a member dead, by its system id, through whichever
// API process answers.
func (d *Dev) Evict(ctx context.Context, systemID string) error {
	var errs []error
	for _, api := range d.first.APIs {
		status, err := call(ctx, http.MethodPost, api+"/api/v1/members/"+systemID+"/evict", d.first.OperatorToken, nil, nil)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if status >= 400 && status < 500 { // another would say the same
			break
		}
	}
	return fmt.Errorf("declare %s dead: %w", systemID, errors.Join(errs...))
}

// Hold keeps a member that ends from being started again until release is called.
// Where two hold one, the first release is for both.
func (d *Dev) Hold(member string) (release func() error, err error) {
	file := filepath.Join(d.cfg.Dir, "hold", member)
	if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
		err = os.WriteFile(file, nil, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("hold %s: %w", member, err)
	}
	return func() error {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("let %s start again: %w", member, err)
		}
		return nil
	}, nil
}

// Thinking counts the turns of an agent that a member has begun and not ended.
func (d *Dev) Thinking(ctx context.Context, member string) (n int, err error) {
	conn, err := d.store(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `
		SELECT count(*)
		FROM turns t
		JOIN customers c ON c.id = t.customer_id
		JOIN members m ON m.id = c.owner
		WHERE t.state = 'claimed' AND t.kind = 'agent' AND m.name = $1`, member).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the turns of %s: %w", member, err)
	}
	return n, nil
}

// Active counts the workers that are active, whoever started them.
func (d *Dev) Active(ctx context.Context) (n int, err error) {
	conn, err := d.store(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `SELECT count(*) FROM members WHERE state = 'active' AND 'actors' = ANY (roles)`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the active workers: %w", err)
	}
	return n, nil
}
