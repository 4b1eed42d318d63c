package agent

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"fte/support"
)

// The lexicon is data: rules.txt says which classes of words make a phrase of a
// subject, in any language; every other file fills the classes for one language.
//
//go:embed lexicon/*.txt
var lexiconFiles embed.FS

var lexicon = must(newLexicon())

// class is a set of terms which mean the same to the rules: "howmuch", "charged".
type class string

// term is a word or several in a row. A word that ends in * is a beginning; one
// after ~ may be misspelt by a letter; # is any figure.
type term struct {
	words []string
	class class
}

// rule decides for reason where one term of every class of all stands within
// window words of one sentence, in any order, and none of any class of none
// stands in that sentence.
type rule struct {
	reason support.Reason
	all    [][]class // each of them one or several alternatives
	none   []class
	window int
}

// drop takes what is named out where cause stands within window words: the price
// of a "price column" is no price.
type drop struct {
	victims []class
	cause   class
	window  int
}

// words of a lexicon: terms by their first word, whole, begun, or misspelt.
type words struct {
	whole, begun, misspelt map[string][]term
	rules                  []rule
	drops                  []drop
}

// defaultWindow is how many words a phrase spans unless its rule says otherwise.
const defaultWindow = 9

func must(w *words, err error) *words {
	if err != nil {
		panic(err)
	}
	return w
}

func newLexicon() (*words, error) {
	w := &words{whole: map[string][]term{}, begun: map[string][]term{}, misspelt: map[string][]term{}}
	files, err := lexiconFiles.ReadDir("lexicon")
	if err != nil {
		return nil, fmt.Errorf("read the lexicon: %w", err)
	}
	known, used := map[class]bool{"short": true, "loud": true, "masked": true}, map[class]bool{}
	for _, f := range files {
		data, err := lexiconFiles.ReadFile(path.Join("lexicon", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the lexicon: %w", err)
		}
		for n, line := range strings.Split(string(data), "\n") {
			name, list, found := strings.Cut(line, ":")
			switch {
			case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
			case !found:
				return nil, fmt.Errorf("parse lexicon %s, line %d: no colon", f.Name(), n+1)
			case f.Name() != "rules.txt":
				known[class(name)] = true
				for _, t := range strings.Fields(list) {
					w.add(class(name), t)
				}
			default:
				of, err := w.rule(name, strings.Fields(list))
				if err != nil {
					return nil, fmt.Errorf("parse lexicon %s, line %d: %w", f.Name(), n+1, err)
				}
				for _, c := range of {
					used[c] = true
				}
			}
		}
	}
	used["harmless"] = true
	for c := range used {
		if !known[c] {
			return nil, fmt.Errorf("parse the lexicon: no language has class %s", c)
		}
	}
	for c := range known {
		if !used[c] {
			return nil, fmt.Errorf("parse the lexicon: no rule has class %s", c)
		}
	}
	return w, nil
}

// rule reads "reason: a b|c !d /12" or "drop a b: c /2" and returns the classes
// that it speaks of.
func (w *words) rule(name string, fields []string) (used []class, err error) {
	r := rule{reason: support.Reason(name), window: defaultWindow}
	for _, f := range fields {
		switch {
		case f[0] == '/':
			if r.window, err = strconv.Atoi(f[1:]); err != nil {
				return nil, err
			}
		case f[0] == '!':
			r.none = append(r.none, class(f[1:]))
			used = append(used, class(f[1:]))
		default:
			r.all = append(r.all, classes(strings.Split(f, "|")))
			used = append(used, r.all[len(r.all)-1]...)
		}
	}
	if len(r.all) == 0 {
		return nil, fmt.Errorf("%q names no class", name)
	}
	victims, isDrop := strings.CutPrefix(name, "drop ")
	if !isDrop {
		w.rules = append(w.rules, r)
		return used, nil
	}
	for _, cause := range r.all[0] {
		w.drops = append(w.drops, drop{victims: classes(strings.Fields(victims)), cause: cause, window: r.window})
	}
	return append(used, classes(strings.Fields(victims))...), nil
}

func classes(names []string) (all []class) {
	for _, n := range names {
		all = append(all, class(n))
	}
	return all
}

// add files a term as the rules will look it up.
func (w *words) add(c class, spelt string) {
	rest, misspelt := strings.CutPrefix(spelt, "~")
	var t term
	t.class = c
	for part := range strings.SplitSeq(rest, "_") {
		stem, begun := strings.CutSuffix(part, "*")
		if stem == "#" || currency[stem] {
			t.words = append(t.words, stem)
			continue
		}
		for _, s := range sentences(normal(stem)) {
			t.words = append(t.words, s.words...)
		}
		if begun && len(t.words) > 0 {
			t.words[len(t.words)-1] += "*"
		}
	}
	first, begun := strings.CutSuffix(t.words[0], "*")
	if begun {
		w.begun[first] = append(w.begun[first], t)
		return
	}
	w.whole[first] = append(w.whole[first], t)
	if misspelt {
		for _, s := range deletions(first) {
			w.misspelt[s] = append(w.misspelt[s], t)
		}
	}
}

// deletions are a word and what is left of it without one of its letters but the
// first: two words that share one are a slip of the finger apart.
func deletions(word string) []string {
	all := []string{word}
	for i := 1; i < len(word); i++ {
		all = append(all, word[:i]+word[i+1:])
	}
	slices.Sort(all)
	return slices.Compact(all)
}
