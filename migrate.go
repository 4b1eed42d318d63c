package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/caarlos0/env/v11"
	"go.uber.org/zap"

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
		if box := os.Getenv("GMAIL_MAILBOX"); box != "" {
			if err := boardMailbox(ctx, persistence.NewAccounts(pool), box); err != nil {
				return err
			}
		}
		k, err := loadKafka()
		if err == nil {
			err = createTopics(ctx, k, log)
		}
		if err != nil && !errors.Is(err, errNoBrokers) {
			return err
		}
	}
	s, err := persistence.MigrationStatus(ctx, pool)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "schema %d of %d, pending: %v, vector extension: %v\n", s.Current, s.Target, s.Pending, s.Vector)
	return nil
}

// loadKafka reads the settings of Kafka alone; errNoBrokers where there are none.
func loadKafka() (k KafkaSettings, err error) {
	if err := env.Parse(&k); err != nil {
		return k, fmt.Errorf("read the settings: %s", oneLine(err.Error()))
	}
	if len(k.KafkaBrokers) == 0 {
		return k, errNoBrokers
	}
	var errs []error
	k.validate(func(name, format string, args ...any) { errs = append(errs, fmt.Errorf(name+": "+format, args...)) })
	if err := errors.Join(errs...); err != nil {
		return k, fmt.Errorf("read the settings: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return k, nil
}

// createTopics creates what is missing, with the partitions and replicas of the
// settings.
func createTopics(ctx context.Context, k KafkaSettings, log *zap.Logger) error {
	servers, err := k.servers("fte migrate", nil)
	if err != nil {
		return err
	}
	admin, err := kafka.NewAdmin(kafka.AdminConfig{Servers: servers, Partitions: k.KafkaPartitions, Replicas: k.KafkaReplicas, Log: log})
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopics(ctx)
}
