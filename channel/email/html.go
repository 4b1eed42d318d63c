package email

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// line is a line of a mail's text.
type line struct {
	text  string
	depth int  // of quotation
	sig   bool // the client marked it as signature
	reply bool // the client marked it as the start of the mail that is answered
}

// frame is an open element and what it means for the text inside.
type frame struct {
	tag       string
	gone      bool // display:none and its like: whatever is inside is gone
	tiny      bool // a font size of nothing, until an element sets another
	invisible bool
	fg, bg    string
	pre, sig  bool
	quote     int
}

// renderer turns HTML into lines in one pass over its tokens, without a tree:
// its cost is linear however the elements nest. What a reader would not see is
// left out (GM-10), since it is written for machines.
type renderer struct {
	stack  []frame
	open   map[string]int
	sheet  map[string]string // declarations by ".class" or "#id"
	lines  []line
	cur    strings.Builder
	blank  bool // a space is due before the next word
	marked bool // the next line starts the mail that is answered
}

const maxOpen = 400 // open elements; deeper ones are read as if they were not there

func renderHTML(source string) []line {
	r := renderer{open: map[string]int{}, sheet: styleSheet(source)}
	r.stack = []frame{{fg: "black", bg: "white"}}
	z := html.NewTokenizer(strings.NewReader(source))
	for {
		next := z.Next()
		if len(r.lines) > maxLines {
			return r.lines
		}
		switch next {
		case html.ErrorToken:
			r.newline()
			return r.lines
		case html.TextToken:
			r.text(string(z.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			attr := map[string]string{}
			tag := string(name)
			for more && len(attr) < 50 {
				var k, v []byte
				k, v, more = z.TagAttr()
				attr[string(k)] = string(v)
			}
			r.start(tag, attr)
		case html.EndTagToken:
			name, _ := z.TagName()
			r.end(string(name))
		}
	}
}

func (r *renderer) top() *frame { return &r.stack[len(r.stack)-1] }

func (f *frame) hidden() bool {
	return f.gone || f.tiny || f.invisible || f.fg == f.bg || f.fg == "transparent"
}

func (r *renderer) text(s string) {
	f := r.top()
	if f.hidden() {
		return
	}
	if f.pre {
		for i, l := range strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
			if i > 0 {
				r.br()
			}
			r.cur.WriteString(l)
		}
		return
	}
	words := strings.Fields(s) // a no-break space is a blank here
	if len(words) == 0 {
		r.blank = r.blank || s != ""
		return
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	if (r.blank || isBlank(first)) && r.cur.Len() > 0 {
		r.cur.WriteByte(' ')
	}
	r.cur.WriteString(strings.Join(words, " "))
	r.blank = isBlank(last)
}

func isBlank(r rune) bool { return strings.TrimSpace(string(r)) == "" }

// br ends a line, also an empty one.
func (r *renderer) br() {
	f := r.top()
	r.lines = append(r.lines, line{text: r.cur.String(), depth: f.quote, sig: f.sig, reply: r.marked})
	r.cur.Reset()
	r.blank, r.marked = false, false
}

func (r *renderer) newline() {
	if r.blank = false; r.cur.Len() > 0 {
		r.br()
	}
}

func (r *renderer) paragraph() {
	r.newline()
	if n := len(r.lines); n > 0 && r.lines[n-1].text != "" {
		r.br()
	}
}

var (
	blockTags = set("address article aside blockquote body center dd dir div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr html li main menu nav ol p pre section table tbody tfoot thead tr ul")
	paraTags  = set("p h1 h2 h3 h4 h5 h6 ul ol dl pre table blockquote")
	voidTags  = set("area base br col embed hr img input link meta param source track wbr")
	goneTags  = set("script style head title template textarea select svg math object applet iframe noembed noframes audio video canvas map datalist")
	headTags  = set("meta link title style script base basefont noscript template")
)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

func (r *renderer) start(tag string, attr map[string]string) {
	r.imply(tag)
	if blockTags[tag] {
		r.newline()
		if paraTags[tag] && !strings.Contains(attr["class"], "Mso") && !r.top().hidden() {
			r.paragraph()
		}
	}
	switch tag {
	case "br":
		if !r.top().hidden() {
			r.br()
		}
	case "img": // clients write emoji as pictures
		if alt := attr["alt"]; alt != "" && alt[0] >= 0x80 && utf8.RuneCountInString(alt) <= 4 {
			r.text(alt)
		}
	case "li":
		r.text("- ")
		r.blank = true
	case "td", "th":
		r.blank = true
	}
	if voidTags[tag] || len(r.stack) >= maxOpen {
		return
	}
	r.stack = append(r.stack, r.frame(tag, attr))
	r.open[tag]++
}

// imply closes what a start tag closes by itself.
func (r *renderer) imply(tag string) {
	for i, n := len(r.stack)-1, 0; i > 0 && n < 32; i, n = i-1, n+1 {
		t := r.stack[i].tag
		if t == "head" && !headTags[tag] || t == "p" && blockTags[tag] || t == "li" && tag == "li" ||
			(t == "td" || t == "th") && (tag == "td" || tag == "th" || tag == "tr") || t == "tr" && tag == "tr" {
			r.closeTo(i)
			return
		}
		if blockTags[t] || t == "td" || t == "th" {
			return
		}
	}
}

func (r *renderer) end(tag string) {
	if r.open[tag] == 0 {
		if tag == "p" {
			r.newline()
		}
		return
	}
	for i := len(r.stack) - 1; i > 0; i-- {
		if r.stack[i].tag == tag {
			r.closeTo(i)
			return
		}
	}
}

// closeTo closes the elements from index i up.
func (r *renderer) closeTo(i int) {
	block, para := false, false
	for _, f := range r.stack[i:] {
		r.open[f.tag]--
		block = block || blockTags[f.tag]
		para = para || paraTags[f.tag] && !f.hidden()
	}
	if block {
		r.newline()
		if para && r.stack[i].tag != "pre" && len(r.lines) > 0 && !r.stack[i].sig {
			r.blankLine(i)
		}
	}
	r.stack = r.stack[:i]
}

// blankLine leaves a blank line behind a paragraph, outside of its quotation.
func (r *renderer) blankLine(i int) {
	if last := r.lines[len(r.lines)-1]; last.text != "" {
		f := r.stack[i-1]
		r.lines = append(r.lines, line{depth: f.quote, sig: f.sig})
	}
}

func (r *renderer) frame(tag string, attr map[string]string) frame {
	f := *r.top()
	f.tag = tag
	class, id := " "+strings.ToLower(attr["class"])+" ", strings.ToLower(attr["id"])
	_, hidden := attr["hidden"]
	f.gone = f.gone || goneTags[tag] || hidden
	f.pre = f.pre || tag == "pre"
	if c := color(attr["bgcolor"]); c != "" {
		f.bg = c
	}
	if c := color(attr["color"]); c != "" {
		f.fg = c
	}
	if tag == "font" && attr["size"] == "0" {
		f.tiny = true
	}
	if len(r.sheet) > 0 {
		f.style(r.sheet["#"+attr["id"]], false)
		for c := range strings.FieldsSeq(attr["class"]) {
			f.style(r.sheet["."+c], false)
		}
	}
	f.style(attr["style"], true)
	switch {
	case strings.Contains(class, "gmail_signature "), strings.Contains(class, "moz-signature"), attr["data-smartmail"] == "gmail_signature",
		strings.Contains(class, "protonmail_signature_block "), id == "signature", id == "ms-outlook-mobile-signature", id == "applemailsignature":
		f.sig = true
	case id == "divrplyfwdmsg", id == "mail-editor-reference-message-container", id == "olk_src_body_section":
		r.marked = true
	}
	if r.quotes(tag, class, id, attr) {
		f.quote++
	}
	return f
}

// quotes says whether an element quotes another mail. A blockquote is also how
// webmail indents what its user writes.
func (r *renderer) quotes(tag, class, id string, attr map[string]string) bool {
	if tag == "div" {
		return strings.Contains(class, " yahoo_quoted ") || strings.HasPrefix(id, "yahoo_quoted") || strings.Contains(class, " zmail_extra ") || attr["name"] == "quote"
	}
	if tag != "blockquote" {
		return false
	}
	if strings.EqualFold(attr["type"], "cite") || attr["cite"] != "" || strings.Contains(class, "quote") || strings.Contains(strings.ReplaceAll(attr["style"], " ", ""), "border-left:") && !strings.Contains(attr["style"], "border-left:none") {
		return true
	}
	for i := len(r.lines) - 1; i >= 0; i-- {
		if text := strings.TrimSpace(r.lines[i].text); text != "" {
			return strings.HasSuffix(text, ":") && attr["style"] == ""
		}
	}
	return false
}

var zeroSize = regexp.MustCompile(`^0*\.?0*(px|pt|em|rem|%|ex|ch|vw|vh)?$`)

// style applies declarations. Those of a style sheet only hide: half of its
// rules are not understood here, and text must not vanish for that.
func (f *frame) style(css string, inline bool) {
	if css == "" {
		return
	}
	values := map[string]string{}
	for d := range strings.SplitSeq(strings.ToLower(css), ";") {
		if k, v, ok := strings.Cut(d, ":"); ok {
			values[strings.TrimSpace(k)] = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "!important"))
		}
	}
	zero := func(name string) bool { v := values[name]; return v != "" && zeroSize.MatchString(v) }
	clipped := values["overflow"] == "hidden"
	f.gone = f.gone || values["display"] == "none" || values["mso-hide"] == "all" && len(values) < 3 || zero("opacity") || zero("max-height") && clipped ||
		clipped && (zero("height") || zero("width")) || strings.HasPrefix(values["text-indent"], "-999") ||
		values["position"] != "" && (strings.HasPrefix(values["left"], "-999") || strings.HasPrefix(values["top"], "-999")) ||
		strings.HasPrefix(strings.ReplaceAll(values["clip"], " ", ""), "rect(0")
	switch values["visibility"] {
	case "hidden", "collapse":
		f.invisible = true
	case "visible":
		f.invisible = false
	}
	if size := values["font-size"]; size != "" {
		relative := strings.HasSuffix(size, "%") || strings.HasSuffix(size, "em") && !strings.HasSuffix(size, "rem")
		if n, err := strconv.ParseFloat(strings.TrimRight(size, "pxt"), 64); zeroSize.MatchString(size) || err == nil && n <= 1 {
			f.tiny = true
		} else if !relative {
			f.tiny = false
		}
	}
	if !inline {
		return
	}
	for _, name := range []string{"background", "background-color"} {
		if c := color(values[name]); c != "" {
			f.bg = c
		} else if v := values[name]; v != "" && v != "none" && v != "inherit" && v != "initial" && v != "transparent" {
			f.bg = "unknown"
		}
	}
	if c := color(values["color"]); c != "" {
		f.fg = c
	}
}

var rgbColor = regexp.MustCompile(`^rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:[\s,/]+([\d.]+))?`)

// color names a colour so that equal ones compare equal; nearly white is white.
func color(v string) string {
	v = strings.ToLower(strings.TrimSpace(v))
	if m := rgbColor.FindStringSubmatch(v); m != nil {
		if a, err := strconv.ParseFloat(m[4], 64); err == nil && a < 0.05 {
			return "transparent"
		}
		n := [3]int{}
		for i := range n {
			n[i], _ = strconv.Atoi(m[i+1])
		}
		return colorOf(n[0], n[1], n[2])
	}
	hex, ok := strings.CutPrefix(v, "#")
	if !ok {
		switch v {
		case "white", "snow", "ghostwhite", "window":
			return "white"
		case "windowtext", "black":
			return "black"
		case "transparent", "red", "green", "blue", "gray", "grey", "yellow", "navy", "purple", "silver", "maroon", "orange":
			return v
		}
		return ""
	}
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || len(hex) != 6 {
		return ""
	}
	return colorOf(int(n>>16), int(n>>8&255), int(n&255))
}

func colorOf(r, g, b int) string {
	switch {
	case r >= 0xf8 && g >= 0xf8 && b >= 0xf8:
		return "white"
	case r <= 8 && g <= 8 && b <= 8:
		return "black"
	}
	return strconv.Itoa(r<<16 | g<<8 | b)
}

var (
	styleElement = regexp.MustCompile(`(?is)<style[^>]*>(.*?)</style`)
	atBlock      = regexp.MustCompile(`@[^{};]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}`)
	cssComment   = regexp.MustCompile(`(?s)/\*.*?\*/|<!--|-->`)
	cssRule      = regexp.MustCompile(`([^{}]+)\{([^{}]*)\}`)
	oneSelector  = regexp.MustCompile(`^[a-zA-Z]*([.#][\w-]+)$`)
)

// styleSheet gathers the rules of a document for single classes and ids.
// Media queries are left out: they do not hold everywhere.
func styleSheet(source string) map[string]string {
	sheet := map[string]string{}
	for _, m := range styleElement.FindAllStringSubmatch(source, 20) {
		css := atBlock.ReplaceAllString(cssComment.ReplaceAllString(m[1], " "), " ")
		for _, rule := range cssRule.FindAllStringSubmatch(css, 2000) {
			for selector := range strings.SplitSeq(rule[1], ",") {
				if m := oneSelector.FindStringSubmatch(strings.TrimSpace(selector)); m != nil && len(sheet[m[1]]) < 2000 {
					sheet[m[1]] += rule[2] + ";"
				}
			}
		}
	}
	return sheet
}
