package cluster

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
)

// quiet is the library's way to our log. Below Info it prints whole messages, so
// nothing below Info passes; above, it attaches some that it could not handle, so
// every attribute that is not plain text or a number goes. Messages of ours can
// therefore never reach the log through it. Its Info, a line for each step of
// each connection, is a Debug to us.
type quiet struct{ slog.Handler }

func libraryLog(log *zap.Logger) *slog.Logger {
	return slog.New(quiet{zapslog.NewHandler(log.Core(), zapslog.WithName(log.Name()+".protoactor"))})
}

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo && q.Handler.Enabled(ctx, ours(l))
}

// ours is a level of the library in our terms: a peer that goes away is an Error
// to it and a Warn to us.
func ours(l slog.Level) slog.Level {
	if l < slog.LevelWarn {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, ours(r.Level), r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if harmless(a.Value) {
			clean.AddAttrs(a)
		}
		return true
	})
	return q.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	var clean []slog.Attr
	for _, a := range attrs {
		if harmless(a.Value) {
			clean = append(clean, a)
		}
	}
	return quiet{q.Handler.WithAttrs(clean)}
}

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

func harmless(v slog.Value) bool {
	if v.Kind() != slog.KindAny {
		return v.Kind() != slog.KindGroup && v.Kind() != slog.KindLogValuer
	}
	_, isError := v.Any().(error)
	return isError
}
