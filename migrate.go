package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/net/proxy"

	"fte/ingress/kafka"
	"fte/persistence"
)

// runMigrate brings schema and topics up to date, or says where they are.
func runMigrate(ctx context.Context, args []string, out io.Writer) error {
	f := flags("migrate")
	dir := f.String("dir", ".fte", "folder of the running fte dev, when DATABASE_URL is not set")
	words, err := parseMixed(f, args, 1)
	if err != nil {
		return err
	}
	if len(words) != 1 || words[0] != "up" && words[0] != "status" {
		return fmt.Errorf("%w: say up or status", errUsage)
	}
	url, err := databaseURL(*dir)
	if err != nil {
		return err
	}
	log, err := newLogger("info", os.Stderr)
	if err != nil {
		return err
	}
	pool, err := persistence.Open(ctx, persistence.Config{URL: url, MaxConns: 2, Log: log})
	if err != nil {
		return err
	}
	defer pool.Close()
	if words[0] == "up" {
		if err := persistence.Migrate(ctx, pool, log); err != nil {
			return err
		}
		if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
			if err := createTopics(ctx, strings.Split(brokers, ","), nil, log); err != nil {
				return err
			}
		}
	}
	s, err := persistence.MigrationStatus(ctx, pool)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "schema %d of %d, pending: %v, vector extension: %v\n", s.Current, s.Target, s.Pending, s.Vector)
	return nil
}

// createTopics creates what is missing.
func createTopics(ctx context.Context, brokers []string, d proxy.Dialer, log *zap.Logger) error {
	admin, err := kafka.NewAdmin(kafka.AdminConfig{Servers: kafka.Servers{Brokers: brokers, Dialer: d}, Log: log})
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopics(ctx)
}
