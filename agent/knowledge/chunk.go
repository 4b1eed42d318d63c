package knowledge

import (
	"crypto/sha256"
	"path"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"

	"fte/support"
)

// maxChunk is how long a passage may grow, in bytes of plain text, before the
// next paragraph starts another.
const maxChunk = 1200

// Parse reads an article in markdown: its first heading is the title, each
// section below a heading becomes a passage, a long one several. The folder it
// lies in is its category. Raw HTML, links' targets and images are left out of
// the text.
func Parse(name string, source []byte) support.Document {
	sum := sha256.Sum256(source)
	doc := support.Document{Path: name, Sum: sum[:]}
	if dir := path.Dir(name); dir != "." {
		doc.Category = path.Base(dir)
	}
	c := chunker{source: source, doc: &doc}
	root := goldmark.DefaultParser().Parse(text.NewReader(source))
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		c.block(n)
	}
	c.flush()
	if doc.Title == "" {
		doc.Title = strings.TrimSuffix(path.Base(name), path.Ext(name))
	}
	for i := range doc.Chunks {
		ch := &doc.Chunks[i]
		ch.Path, ch.Title, ch.Category, ch.N = doc.Path, doc.Title, doc.Category, i
		if ch.Heading == "" {
			ch.Heading = doc.Title
		}
		ch.Terms = [3]string{strings.Join(Terms(ch.Title), " "), strings.Join(Terms(ch.Heading), " "), strings.Join(Terms(ch.Text), " ")}
		ch.Vector = vectorOf(*ch)
	}
	return doc
}

// chunker gathers the blocks of a section.
type chunker struct {
	source  []byte
	doc     *support.Document
	heading string
	parts   []string
	starts  int
	ends    int
	size    int
}

func (c *chunker) block(n ast.Node) {
	if h, ok := n.(*ast.Heading); ok {
		c.flush()
		title := c.plain(h)
		if h.Level == 1 && c.doc.Title == "" {
			c.doc.Title = title
			return
		}
		c.heading = title
		return
	}
	var s string
	switch b := n.(type) {
	case *ast.List:
		s = c.list(b)
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		s = strings.TrimSpace(string(n.Lines().Value(c.source)))
	case *ast.HTMLBlock, *ast.ThematicBreak:
		return
	case *ast.Blockquote:
		for k := b.FirstChild(); k != nil; k = k.NextSibling() {
			c.block(k)
		}
		return
	default:
		s = c.plain(n)
	}
	if s == "" {
		return
	}
	if c.size > 0 && c.size+len(s) > maxChunk {
		c.flush()
	}
	from, to := extent(n)
	if c.size == 0 {
		c.starts = from
	}
	c.ends = to
	c.parts = append(c.parts, s)
	c.size += len(s)
}

func (c *chunker) flush() {
	if c.size > 0 {
		c.doc.Chunks = append(c.doc.Chunks, support.Chunk{Heading: c.heading, Starts: c.starts, Ends: c.ends, Text: strings.Join(c.parts, "\n")})
	}
	c.parts, c.size = nil, 0
}

// list renders items on lines of their own, numbered where they are.
func (c *chunker) list(l *ast.List) string {
	var lines []string
	number := l.Start
	for it := l.FirstChild(); it != nil; it = it.NextSibling() {
		mark := "- "
		if l.IsOrdered() {
			mark = strconv.Itoa(number) + ". "
			number++
		}
		var parts []string
		for k := it.FirstChild(); k != nil; k = k.NextSibling() {
			if sub, ok := k.(*ast.List); ok {
				parts = append(parts, c.list(sub))
			} else if s := c.plain(k); s != "" {
				parts = append(parts, s)
			}
		}
		lines = append(lines, mark+strings.Join(parts, " "))
	}
	return strings.Join(lines, "\n")
}

// plain is the text of a node's inline content on one line.
func (c *chunker) plain(n ast.Node) string {
	var b strings.Builder
	_ = ast.Walk(n, func(k ast.Node, entering bool) (ast.WalkStatus, error) { // the walker returns no error
		if !entering {
			return ast.WalkContinue, nil
		}
		switch t := k.(type) {
		case *ast.Text:
			b.Write(t.Value(c.source))
			if t.SoftLineBreak() || t.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(t.Value)
		case *ast.AutoLink:
			b.Write(t.URL(c.source))
		case *ast.Image, *ast.RawHTML:
			return ast.WalkSkipChildren, nil
		}
		return ast.WalkContinue, nil
	})
	return strings.Join(strings.Fields(b.String()), " ")
}

// extent is the range of source bytes that a block's lines cover.
func extent(n ast.Node) (from, to int) {
	from = -1
	_ = ast.Walk(n, func(k ast.Node, entering bool) (ast.WalkStatus, error) { // the walker returns no error
		if !entering || k.Type() == ast.TypeInline {
			return ast.WalkContinue, nil
		}
		for i := range k.Lines().Len() {
			s := k.Lines().At(i)
			if from < 0 || s.Start < from {
				from = s.Start
			}
			to = max(to, s.Stop)
		}
		return ast.WalkContinue, nil
	})
	return max(from, 0), to
}
