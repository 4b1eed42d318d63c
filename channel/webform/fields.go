package webform

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fields are what a form sends, product.md "Web form". Lengths are in code
// points, after blanks around the text are cut.
type fields struct {
	Name     string `json:"name"`     // 2 to 100
	Email    string `json:"email"`    // at most 254
	Phone    string `json:"phone"`    // at most 32; optional
	Subject  string `json:"subject"`  // 5 to 200
	Category string `json:"category"` // one of categories
	Priority string `json:"priority"` // one of priorities; medium where empty
	Message  string `json:"message"`  // 10 to 5,000
	// Website is the trap: people do not see the field, robots fill it (WF-04).
	Website string `json:"website"`
}

var (
	categories = []string{"general", "technical", "billing", "bug_report", "feedback"}
	priorities = []string{"low", "medium", "high"}
)

// named gives each field by its name.
func (d *fields) named() map[string]*string {
	return map[string]*string{"name": &d.Name, "email": &d.Email, "phone": &d.Phone, "subject": &d.Subject,
		"category": &d.Category, "priority": &d.Priority, "message": &d.Message, "website": &d.Website}
}

// clean makes single lines of all fields but the message.
func (d *fields) clean() {
	for name, value := range d.named() {
		if name != "message" {
			*value = line(*value)
		}
	}
	d.Message = text(d.Message)
	if d.Priority == "" {
		d.Priority = "medium"
	}
}

// check says what must be mended, in the order of the form.
func (d *fields) check() (wrong []fieldError) {
	bad := func(field, format string, args ...any) {
		wrong = append(wrong, fieldError{field, fmt.Sprintf(format, args...)})
	}
	within := func(field, value string, least, most int) {
		switch n := utf8.RuneCountInString(value); {
		case n == 0 && least > 0:
			bad(field, "is required")
		case n < least:
			bad(field, "needs at least %d characters", least)
		case n > most:
			bad(field, "has %d characters; at most %d are taken", n, most)
		}
	}
	among := func(field, value string, of []string) {
		if !slices.Contains(of, value) {
			bad(field, "must be one of %s", strings.Join(of, ", "))
		}
	}
	within("name", d.Name, 2, 100)
	within("email", d.Email, 1, 254)
	within("phone", d.Phone, 0, 32)
	within("subject", d.Subject, 5, 200)
	among("category", d.Category, categories)
	among("priority", d.Priority, priorities)
	within("message", d.Message, 10, 5000)
	return wrong
}

// line is a text on one line, without what does not show.
func line(s string) string { return strings.Join(strings.Fields(visible(s)), " ") }

// text is a text with its lines, without what does not show.
func text(s string) string {
	return strings.TrimSpace(visible(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)))
}

// visible drops control characters, save for blanks, and those that turn the
// direction of what follows.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
