package persistence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrWrongKeys: the database was made with other keys than these.
var ErrWrongKeys = errors.New("the database was made with other keys")

// checkConstant is what the keys are tried on.
var checkConstant = []byte("fte key check 1")

const (
	checkKEK   = "kek"
	checkIndex = "index:" // and the version
)

// CheckKeys compares the key-encryption key and the index key with what the
// database was made with, and leaves their mark in a new database. It is
// ErrWrongKeys when they differ: started with another key, every message would
// be unreadable and every customer would become two.
//
// A rotation passes: a keyset that gained a key still has the one that is known
// here, and a key may leave once nothing is wrapped or indexed by it any more.
func CheckKeys(ctx context.Context, pool *pgxpool.Pool, k *Keys) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// One process at a time, for a new database is marked only once.
		if _, err := tx.Exec(ctx, "LOCK TABLE key_check IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		known, err := readKeyCheck(ctx, tx)
		if err != nil {
			return err
		}
		if err := k.checkKEK(ctx, tx, known[checkKEK]); err != nil {
			return err
		}
		delete(known, checkKEK)
		return k.checkIndex(ctx, tx, known)
	})
	if err != nil {
		return fmt.Errorf("check the keys: %w", err)
	}
	return nil
}

func readKeyCheck(ctx context.Context, tx pgx.Tx) (map[string][]byte, error) {
	rows, err := tx.Query(ctx, "SELECT name, made FROM key_check")
	if err != nil {
		return nil, err
	}
	known := map[string][]byte{}
	var name string
	var made []byte
	_, err = pgx.ForEachRow(rows, []any{&name, &made}, func() error {
		known[name] = bytes.Clone(made)
		return nil
	})
	return known, err
}

// checkKEK opens the mark and renews it under the primary key, so that an older
// key of the keyset may be destroyed one day: once no data key needs it.
func (k *Keys) checkKEK(ctx context.Context, tx pgx.Tx, made []byte) error {
	if made != nil {
		plain, err := k.kek.Decrypt(made, []byte("key_check|made"))
		if err != nil || !bytes.Equal(plain, checkConstant) {
			return fmt.Errorf("%w: key-encryption key", ErrWrongKeys)
		}
	}
	var stray *int
	err := tx.QueryRow(ctx, "SELECT min(kek_version) FROM customer_keys WHERE kek_version <> ALL ($1)",
		append([]int{k.kekVersion}, k.kekOlder...)).Scan(&stray)
	if err != nil {
		return err
	}
	if stray != nil {
		return fmt.Errorf("%w: key-encryption key %d is missing and in use", ErrWrongKeys, *stray)
	}
	made, err = k.kek.Encrypt(checkConstant, []byte("key_check|made"))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO key_check (name, made) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET made = excluded.made", checkKEK, made)
	return err
}

// checkIndex compares every version the database knows.
func (k *Keys) checkIndex(ctx context.Context, tx pgx.Tx, known map[string][]byte) error {
	matched := len(known) == 0 // a new database
	for name, made := range known {
		v, err := strconv.Atoi(strings.TrimPrefix(name, checkIndex))
		if err != nil {
			return fmt.Errorf("key_check has an unknown row %q", name)
		}
		if _, ours := k.index.by[v]; ours {
			if !bytes.Equal(made, k.index.mac(v, checkConstant)) {
				return fmt.Errorf("%w: index key %d", ErrWrongKeys, v)
			}
			matched = true
			continue
		}
		var used bool
		err = tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM customer_identifiers WHERE bi_version = $1)
			    OR EXISTS (SELECT FROM suppressions WHERE bi_version = $1)`, v).Scan(&used)
		if err != nil {
			return err
		}
		if used {
			return fmt.Errorf("%w: index key %d is missing and in use", ErrWrongKeys, v)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM key_check WHERE name = $1", name); err != nil {
			return err
		}
	}
	if !matched {
		return fmt.Errorf("%w: no index key is known here", ErrWrongKeys)
	}
	for _, v := range k.index.order {
		_, err := tx.Exec(ctx, "INSERT INTO key_check (name, made) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
			checkIndex+strconv.Itoa(v), k.index.mac(v, checkConstant))
		if err != nil {
			return err
		}
	}
	return nil
}
