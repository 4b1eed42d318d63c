// Package redact keeps customers' addresses and credentials out of the log
// (channels.md SE-04). Core stands in front of a zap core and rewrites every
// entry: its message, its stack and every kind of field; Text is what it does to
// a text. It guards against what should not have been logged in the first place
// and leaves ids, times and addresses of machines alone.
package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// hidden stands for the value of a field whose name says that it is secret, and
// unreadable for one that could not be looked at.
const (
	hidden     = "[redacted]"
	unreadable = "[unreadable]"
)

// Core returns a core that rewrites what it hands to c.
func Core(c zapcore.Core) zapcore.Core { return &core{c} }

type core struct{ zapcore.Core }

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core { return &core{c.Core.With(clean(fields))} }

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements zapcore.Core.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Message, e.Stack, e.LoggerName = Text(e.Message), Text(e.Stack), Text(e.LoggerName)
	return c.Core.Write(e, clean(fields))
}

func clean(fields []zapcore.Field) []zapcore.Field {
	out := make([]zapcore.Field, 0, len(fields))
	for _, f := range fields {
		out = append(out, field(f)...)
	}
	return out
}

// field is a field without what it should not say; an inlined object becomes the
// fields it consists of. A value that panics when it is read is unreadable.
func field(f zapcore.Field) (out []zapcore.Field) {
	key := Text(f.Key)
	defer func() {
		if recover() != nil {
			out = []zapcore.Field{zap.String(key, unreadable)}
		}
	}()
	switch f.Type {
	case zapcore.SkipType:
		return nil
	case zapcore.NamespaceType:
		return []zapcore.Field{zap.Namespace(key)}
	case zapcore.InlineMarshalerType:
		for k, v := range encoded(f) {
			out = append(out, zap.Any(Text(k), value(k, v)))
		}
		return out
	}
	if secretKey(f.Key) {
		return []zapcore.Field{zap.String(key, hidden)}
	}
	switch f.Type {
	case zapcore.StringType:
		return []zapcore.Field{zap.String(key, Text(f.String))}
	case zapcore.ByteStringType:
		return []zapcore.Field{zap.String(key, Text(string(f.Interface.([]byte))))}
	case zapcore.BinaryType:
		return []zapcore.Field{zap.String(key, fmt.Sprintf("[%d bytes]", len(f.Interface.([]byte))))}
	case zapcore.ErrorType:
		return []zapcore.Field{zap.String(key, Text(f.Interface.(error).Error()))}
	case zapcore.StringerType:
		return []zapcore.Field{zap.String(key, Text(f.Interface.(fmt.Stringer).String()))}
	case zapcore.ReflectType, zapcore.ArrayMarshalerType, zapcore.ObjectMarshalerType:
		return []zapcore.Field{zap.Any(key, value(f.Key, encoded(f)[f.Key]))}
	default: // numbers, truths and times
		f.Key = key
		return []zapcore.Field{f}
	}
}

// encoded is what a field adds to a JSON line, decoded again.
func encoded(f zapcore.Field) map[string]any {
	e := zapcore.NewMapObjectEncoder()
	f.AddTo(e)
	raw, err := json.Marshal(e.Fields)
	if err != nil {
		return map[string]any{f.Key: unreadable}
	}
	out := map[string]any{}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&out); err != nil && !errors.Is(err, io.EOF) {
		return map[string]any{f.Key: unreadable}
	}
	return out
}

// value rewrites a decoded JSON value that stands under a key.
func value(key string, v any) any {
	if secretKey(key) {
		return hidden
	}
	switch v := v.(type) {
	case string:
		return Text(v)
	case []any:
		for i := range v {
			v[i] = value("", v[i])
		}
		return v
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, inner := range v {
			out[Text(k)] = value(k, inner)
		}
		return out
	default:
		return v
	}
}
