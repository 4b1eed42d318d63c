package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func logged(t *testing.T, level string, do func(*zap.Logger)) []map[string]any {
	t.Helper()
	var out bytes.Buffer
	l, err := newLogger(level, &out)
	require.NoError(t, err)
	do(l)
	var lines []map[string]any
	for line := range bytes.Lines(out.Bytes()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal(line, &m), string(line))
		lines = append(lines, m)
	}
	return lines
}

// The constitution's five fields: timestamp, customer_id, conversation_id,
// channel, event_type.
func TestALineAboutACustomer(t *testing.T) {
	lines := logged(t, "info", func(l *zap.Logger) {
		l = l.Named("customer").With(zap.String("customer_id", "0190b7a0-0000-7000-8000-000000000001"))
		l.Info("Turn done", zap.String("conversation_id", "c"), zap.String("channel", "email"))
		l.Info("x", zap.String("event_type", "turn.done"))
	})
	at, err := time.Parse(time.RFC3339Nano, lines[0]["timestamp"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Minute)
	delete(lines[0], "timestamp")
	require.Equal(t, map[string]any{"level": "info", "logger": "customer", "msg": "Turn done", "customer_id": "0190b7a0-0000-7000-8000-000000000001", "conversation_id": "c",
		"channel": "email", "event_type": "turn_done"}, lines[0])
	require.Equal(t, "turn.done", lines[1]["event_type"])
}

// SE-04: what libraries log by the standard library goes the same way.
func TestEveryLogIsRedacted(t *testing.T) {
	lines := logged(t, "info", func(l *zap.Logger) {
		l.Info("mail of ada@example.org")
		log.Print("http: panic serving ada@example.org")
		slog.Warn("lost ada@example.org", "peer", "+14155550100")
	})
	require.Len(t, lines, 3)
	for _, line := range lines {
		require.Contains(t, line["msg"], "[email]")
		require.NotContains(t, line["msg"], "ada")
	}
	require.Equal(t, "[phone]", lines[2]["peer"])
}

// labels are the names metrics may tell things apart by: each has few values,
// none is of a customer.
var labels = []string{"route", "status", "reason", "channel", "state", "outcome", "result", "tool", "direction", "topic", "vendor", "kind", "code", "class", "action",
	"mailbox", "call", "method"} // our own mailbox, and what is called at a vendor

// Metrics' labels hold no ids (SE-04).
func TestMetricsTellNobodyApart(t *testing.T) {
	seen := 0
	require.NoError(t, fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(os.DirFS("."), path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
		if err != nil {
			return nil // the compiler says so better
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.HasSuffix(f.Sel.Name, "Vec") || len(call.Args) != 2 {
				return true
			}
			if pkg, ok := f.X.(*ast.Ident); !ok || pkg.Name != "prometheus" && pkg.Name != "promauto" {
				return true
			}
			list, ok := call.Args[1].(*ast.CompositeLit)
			if !ok { // a helper's argument
				return true
			}
			for _, e := range list.Elts {
				name, err := strconv.Unquote(e.(*ast.BasicLit).Value)
				require.NoError(t, err)
				require.Contains(t, labels, name, "%s: is %q a label with few values that say nothing of a customer?", path, name)
				seen++
			}
			return true
		})
		return nil
	}))
	require.Greater(t, seen, 5)
}
