package report

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"fte/chaos/checker"
)

// node is a value of a verdict for people: a value, a table, or a list of nodes.
type node struct {
	Name  string
	Value string
	Head  []string
	Rows  [][]string
	Nodes []node
}

// measures shows whatever a verdict counts and measures, save what the page has
// elsewhere.
func measures(v checker.Verdict, w window) []node {
	out := fields(reflect.ValueOf(v.Measures), w, "Unowned", "Strikes")
	if n, ok := describe("counts", reflect.ValueOf(v.Counts), w); ok {
		out = append(out, n)
	}
	// What is one number stands together, before what is more.
	plain := node{Name: "in one number"}
	rest := slices.DeleteFunc(out, func(n node) bool {
		if n.Value != "" {
			plain.Nodes = append(plain.Nodes, n)
		}
		return n.Value != ""
	})
	if len(plain.Nodes) > 0 {
		rest = append([]node{plain}, rest...)
	}
	return rest
}

// fields are the filled fields of a struct but those named.
func fields(v reflect.Value, w window, but ...string) []node {
	var out []node
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && !slices.Contains(but, f.Name) {
			if n, ok := describe(called(f), v.Field(i), w); ok {
				out = append(out, n)
			}
		}
	}
	return out
}

// called is a field's name in JSON, in words.
func called(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		name = f.Name
	}
	return inWords(name)
}

func inWords(name string) string { return strings.ReplaceAll(name, "_", " ") }

// describe turns any value into a node; an empty one is left out.
func describe(name string, v reflect.Value, w window) (node, bool) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return node{}, false
		}
		v = v.Elem()
	}
	n := node{Name: name}
	if text, ok := scalar(v, w); ok {
		n.Value = text
		return n, text != ""
	}
	var names []string
	var values []reflect.Value
	switch v.Kind() {
	case reflect.Struct:
		if names, values := alike(v); len(names) > 1 && n.table(names, values, w) {
			return n, true
		}
		n.Nodes = fields(v, w)
		if len(n.Nodes) > 0 && n.Nodes[0].Value == name { // what it is called stands above it
			n.Nodes = n.Nodes[1:]
		}
		return n, len(n.Nodes) > 0
	case reflect.Map:
		for _, k := range slices.SortedFunc(maps.Keys(keys(v)), natural) {
			names, values = append(names, k), append(values, keys(v)[k])
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			names, values = append(names, ""), append(values, v.Index(i))
		}
	default:
		return n, false
	}
	if n.table(names, values, w) {
		return n, len(n.Rows) > 0
	}
	for i, value := range values {
		label := names[i]
		if v.Kind() != reflect.Map {
			label = title(value, i)
		}
		if child, ok := describe(inWords(label), value, w); ok {
			n.Nodes = append(n.Nodes, child)
		}
	}
	return n, len(n.Nodes) > 0
}

// title is what a value of a list is called: its first text, else its place.
func title(v reflect.Value, i int) string {
	if v.Kind() == reflect.Struct && v.NumField() > 0 && v.Field(0).Kind() == reflect.String {
		return v.Field(0).String()
	}
	return strconv.Itoa(i + 1)
}

// alike are the fields of a struct whose fields, but for a name, are structs of one
// type.
func alike(v reflect.Value) (names []string, values []reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.String {
			continue
		}
		if f.Kind() != reflect.Struct || len(values) > 0 && f.Type() != values[0].Type() {
			return nil, nil
		}
		names, values = append(names, called(v.Type().Field(i))), append(values, f)
	}
	return names, values
}

func keys(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for _, k := range v.MapKeys() {
		out[fmt.Sprint(k.Interface())] = v.MapIndex(k)
	}
	return out
}

// table shows structs of plain values as rows, under the columns that any of them
// fills.
func (n *node) table(names []string, values []reflect.Value, w window) bool {
	if len(values) == 0 || reflect.Indirect(values[0]).Kind() != reflect.Struct {
		return false
	}
	head, rows, filled := []string{}, make([][]string, len(values)), []bool{}
	for i, v := range values {
		line, ok := cells("", reflect.Indirect(v), w, 1)
		if !ok {
			return false
		}
		for f, cell := range line {
			if i == 0 {
				head, filled = append(head, cell.name), append(filled, false)
			}
			filled[f] = filled[f] || !cell.zero
			rows[i] = append(rows[i], cell.text)
		}
	}
	n.Head, n.Rows = nil, make([][]string, len(values))
	if names[0] != "" {
		n.Head = append(n.Head, "")
		for i := range names {
			n.Rows[i] = append(n.Rows[i], inWords(names[i]))
		}
	}
	for f, name := range head {
		if filled[f] {
			n.Head = append(n.Head, name)
			for i := range rows {
				n.Rows[i] = append(n.Rows[i], rows[i][f])
			}
		}
	}
	return true
}

type cell struct {
	name, text string
	zero       bool
}

// cells are the plain values of a struct, and of one struct in it.
func cells(prefix string, v reflect.Value, w window, inner int) (out []cell, ok bool) {
	for i := range v.NumField() {
		name := prefix + called(v.Type().Field(i))
		if text, ok := scalar(v.Field(i), w); ok {
			switch {
			case name == "rss":
				text = size(float64(v.Field(i).Int()))
			case v.Field(i).Type() == reflect.TypeFor[time.Duration]() && v.Field(i).IsZero():
				text = "" // of nothing, or none
			}
			out = append(out, cell{name, text, v.Field(i).IsZero()})
			continue
		}
		if inner == 0 || v.Field(i).Kind() != reflect.Struct {
			return nil, false
		}
		deeper, ok := cells(name+" ", v.Field(i), w, 0)
		if !ok {
			return nil, false
		}
		inner--
		out = append(out, deeper...)
	}
	return out, true
}

// scalar writes a plain value; times are the run's.
func scalar(v reflect.Value, w window) (string, bool) {
	switch x := v.Interface().(type) {
	case checker.Share:
		if x.Of == 0 {
			return "", true
		}
		return fmt.Sprintf("%s %% (%s of %s)", digits(100*x.Part()), group(int64(x.N)), group(int64(x.Of))), true
	case time.Duration:
		return spell(x), true
	case time.Time:
		return w.clock(x), true
	case []int64:
		return strings.Trim(fmt.Sprint(x), "[]"), true
	case []string:
		return strings.Join(x, ", "), true
	}
	switch {
	case v.CanInt():
		return group(v.Int()), true
	case v.CanUint():
		return group(int64(v.Uint())), true
	case v.CanFloat():
		return digits(v.Float()), true
	case v.Kind() == reflect.Bool:
		return map[bool]string{true: "yes", false: "no"}[v.Bool()], true
	case v.Kind() == reflect.String:
		return v.String(), true
	}
	return "", false
}
