package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"

	"fte/redact"
)

// newLogger writes JSON lines: timestamp, level, logger, msg and the fields of
// the line; what belongs to a customer also says customer_id, conversation_id,
// channel and event_type. Nothing passes that is an address, a number or a
// secret (SE-04). The standard library's logs, and at debug Kafka's client's, go
// the same way.
func newLogger(level string, w io.Writer) (*zap.Logger, error) {
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("read the log level: %w", err)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey = "timestamp"
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	log := zap.New(typed{Core: redact.Core(zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), l))})
	slog.SetDefault(slog.New(zapslog.NewHandler(log.Core(), zapslog.WithName("std"))))
	if _, err := zap.RedirectStdLogAt(log.Named("std"), zapcore.WarnLevel); err != nil {
		return nil, fmt.Errorf("take over the standard log: %w", err)
	}
	if l == zapcore.DebugLevel {
		sarama.Logger, _ = zap.NewStdLogAt(log.Named("sarama"), zapcore.DebugLevel)
	}
	return log, nil
}

// typed gives a line about a customer that names no event_type its message as
// one: messages are constant, so they tell events apart.
type typed struct {
	zapcore.Core
	customer, event bool // what the fields so far say
}

func (t typed) and(fields []zapcore.Field) typed {
	for _, f := range fields {
		t.customer = t.customer || f.Key == "customer_id"
		t.event = t.event || f.Key == "event_type"
	}
	return t
}

// With implements zapcore.Core.
func (t typed) With(fields []zapcore.Field) zapcore.Core {
	next := t.and(fields)
	next.Core = t.Core.With(fields)
	return next
}

// Check implements zapcore.Core.
func (t typed) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if t.Enabled(e.Level) {
		return to.AddCore(e, t)
	}
	return to
}

// Write implements zapcore.Core.
func (t typed) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if now := t.and(fields); now.customer && !now.event {
		fields = append(fields[:len(fields):len(fields)], zap.String("event_type", strings.ReplaceAll(strings.ToLower(e.Message), " ", "_")))
	}
	return t.Core.Write(e, fields)
}
