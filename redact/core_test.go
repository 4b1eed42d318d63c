package redact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"fte/redact"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
)

// canaries are lines of testdata/canaries.txt: what must not show and the text
// it stands in, separated by a tab.
func canaries(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/canaries.txt")
	require.NoError(t, err)
	all := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		secret, in, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		require.True(t, ok, line)
		require.Contains(t, in, secret)
		all[secret] = in
	}
	require.GreaterOrEqual(t, len(all), 50)
	return all
}

func logger(out *bytes.Buffer) *zap.Logger {
	return zap.New(redact.Core(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(out), zapcore.DebugLevel)))
}

type stringer string

func (s stringer) String() string { return string(s) }

type object struct {
	Note   string `json:"note"`
	Nested map[string][]string
}

func (o object) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("note", o.Note)
	e.AddByteString("bytes", []byte(o.Note))
	return e.AddReflected("nested", o.Nested)
}

// verbose is an error that prints more when asked for it, as some libraries' do.
type verbose string

func (v verbose) Error() string                 { return "failed" }
func (v verbose) Format(s fmt.State, verb rune) { fmt.Fprint(s, string(v)) }

// Every way of zap to say something, with something that must not be said.
func TestNoKindOfFieldShowsACanary(t *testing.T) {
	ways := map[string]func(l *zap.Logger, s string){
		"message":    func(l *zap.Logger, s string) { l.Info(s) },
		"name":       func(l *zap.Logger, s string) { l.Named(s).Info("x") },
		"string":     func(l *zap.Logger, s string) { l.Info("x", zap.String("note", s)) },
		"key":        func(l *zap.Logger, s string) { l.Info("x", zap.String(s, "v")) },
		"with":       func(l *zap.Logger, s string) { l.With(zap.String("note", s)).Info("x") },
		"pointer":    func(l *zap.Logger, s string) { l.Info("x", zap.Stringp("note", &s)) },
		"strings":    func(l *zap.Logger, s string) { l.Info("x", zap.Strings("note", []string{"a", s})) },
		"bytestring": func(l *zap.Logger, s string) { l.Info("x", zap.ByteString("note", []byte(s))) },
		"binary":     func(l *zap.Logger, s string) { l.Info("x", zap.Binary("note", []byte(s))) },
		"error":      func(l *zap.Logger, s string) { l.Info("x", zap.Error(fmt.Errorf("send: %w", errors.New(s)))) },
		"errors":     func(l *zap.Logger, s string) { l.Info("x", zap.Errors("note", []error{errors.New(s)})) },
		"joined":     func(l *zap.Logger, s string) { l.Info("x", zap.Error(errors.Join(errors.New("a"), errors.New(s)))) },
		"verbose":    func(l *zap.Logger, s string) { l.Info("x", zap.Error(verbose(s))) },
		"stringer":   func(l *zap.Logger, s string) { l.Info("x", zap.Stringer("note", stringer(s))) },
		"stringers":  func(l *zap.Logger, s string) { l.Info("x", zap.Stringers("note", []stringer{stringer(s)})) },
		"any":        func(l *zap.Logger, s string) { l.Info("x", zap.Any("note", map[string]any{"a": []any{s}, s: 1})) },
		"reflect":    func(l *zap.Logger, s string) { l.Info("x", zap.Reflect("note", struct{ A *string }{&s})) },
		"raw json": func(l *zap.Logger, s string) {
			raw, _ := json.Marshal([]string{s})
			l.Info("x", zap.Reflect("note", json.RawMessage(raw)))
		},
		"object": func(l *zap.Logger, s string) {
			l.Info("x", zap.Object("note", object{s, map[string][]string{s: {s}}}))
		},
		"inline": func(l *zap.Logger, s string) { l.Info("x", zap.Inline(object{s, nil})) },
		"dict":   func(l *zap.Logger, s string) { l.Info("x", zap.Dict("note", zap.String("a", s))) },
		"objects": func(l *zap.Logger, s string) {
			l.Info("x", zap.Objects("note", []object{{Note: s}}))
		},
		"namespace": func(l *zap.Logger, s string) { l.Info("x", zap.Namespace("note"), zap.String("a", s)) },
		"sugar":     func(l *zap.Logger, s string) { l.Sugar().Infow("x", "note", s, "other", []string{s}) },
		"sugared f": func(l *zap.Logger, s string) { l.Sugar().Infof("got %s", s) },
		"slog": func(l *zap.Logger, s string) {
			slog.New(zapslog.NewHandler(l.Core())).With("a", s).Info("x "+s, "b", s, slog.Group("g", "c", s), "d", errors.New(s))
		},
		"standard log": func(l *zap.Logger, s string) { zap.NewStdLog(l).Println("panic:", s) },
		"stack":        func(l *zap.Logger, s string) { l.Info("x", zap.ByteString("stack", []byte("goroutine 1:\n\t"+s))) },
	}
	for secret, in := range canaries(t) {
		for way, do := range ways {
			var out bytes.Buffer
			do(logger(&out), in)
			require.NotEmpty(t, out.String())
			require.NotContains(t, out.String(), secret, way)
			require.NotContains(t, out.String(), strings.Trim(fmt.Sprintf("%q", secret), `"`), way)
			require.True(t, json.Valid(out.Bytes()), out.String())
		}
	}
}

func TestNamesThatAreSecret(t *testing.T) {
	for _, key := range []string{"body", "subject", "text", "from", "to", "email", "phone", "Authorization", "customer_email", "PhoneNumber", "password"} {
		var out bytes.Buffer
		l := logger(&out)
		l.Info("x", zap.String(key, "a word"), zap.Any("in", map[string]any{key: []string{"a word"}}), zap.Int64("n", 1))
		l.Info("x", zap.Int64(key, 4711), zap.Error(nil))
		require.NotContains(t, out.String(), "a word", key)
		require.NotContains(t, out.String(), "4711", key)
		require.Contains(t, out.String(), `"n":1`)
	}
}

// What operators need stays as it is.
func TestWhatStays(t *testing.T) {
	for _, s := range []string{
		"0190b7a0-0000-7000-8000-000000000001", "01234567-8901-7234-8567-890123456789:17", "SM0123456789abcdef0123456789abcdef", "2026-11-22T18:35:15.123456789Z",
		"2026/11/22 18:35:15", "127.0.0.1:34567", "10.0.0.7", "T-0J3K9Q2M1XYZ", "deliver customer 0190b7a0-0000-7000-8000-000000000001: not now, try again",
		"message accepted", "worker-1", "fte.channels.whatsapp.inbound/3", "whatsapp", "https://api.twilio.com/2010-04-01/Messages.json", "dial tcp 127.0.0.1:5432: connect: connection refused",
		"fte/actors/customer.(*core).run(0xc0001ea000)\n\t/src/actors/customer/run.go:53 +0x1d3", "63016", "18c2f0a1b2c3d4e5",
	} {
		require.Equal(t, s, redact.Text(s))
	}
	require.Equal(t, "GET /api/v1/customers?[query] refused", redact.Text("GET /api/v1/customers?email=ada@example.org refused"))
	require.Equal(t, "[email]/18c2f0a1b2c3d4e5", redact.Text("support@fte.test/18c2f0a1b2c3d4e5"))

	var out bytes.Buffer
	at := time.Date(2026, 11, 22, 18, 35, 15, 0, time.UTC)
	logger(&out).Info("x", zap.Int64("offset", 14155550100), zap.Duration("took", time.Second), zap.Time("at", at), zap.Bool("ok", true), zap.Float64("f", 1.5),
		zap.Complex128("c", 1+2i), zap.Any("refs", map[string]string{"seq": "7"}), zap.Skip())
	require.JSONEq(t, `{"offset":14155550100,"took":1,"ok":true,"f":1.5,"c":"1+2i","refs":{"seq":"7"},"msg":"x","level":"info"}`,
		without(t, out.Bytes(), "ts", "at"))
}

func without(t *testing.T, line []byte, keys ...string) string {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(line, &m))
	for _, k := range keys {
		require.Contains(t, m, k)
		delete(m, k)
	}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return string(b)
}

type broken struct{}

func (*broken) String() string { panic("no") }

func TestAValueThatCannotBeReadIsNoReasonToFail(t *testing.T) {
	var out bytes.Buffer
	logger(&out).Info("x", zap.Stringer("a", (*broken)(nil)), zap.Reflect("b", func() {}), zap.Error((*os.PathError)(nil)))
	require.Equal(t, 3, strings.Count(out.String(), "[unreadable]"), out.String())
}

func TestLevelsAreKept(t *testing.T) {
	var out bytes.Buffer
	l := zap.New(redact.Core(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.WarnLevel)))
	l.Info("x")
	require.Empty(t, out.String())
	l.Warn("x")
	require.NotEmpty(t, out.String())
}

func BenchmarkLine(b *testing.B) {
	l := zap.New(redact.Core(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(nothing{}), zapcore.InfoLevel)))
	for b.Loop() {
		l.Info("turn done", zap.String("customer_id", "0190b7a0-0000-7000-8000-000000000001"), zap.String("channel", "whatsapp"), zap.Int64("turn", 7),
			zap.String("message_id", "SM0123456789abcdef0123456789abcdef"), zap.String("event_type", "turn.done"))
	}
}

type nothing struct{}

func (nothing) Write(b []byte) (int, error) { return len(b), nil }
