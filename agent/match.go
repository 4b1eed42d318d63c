package agent

import (
	"slices"
	"strings"

	"fte/support"
)

// place is where a term stands in a sentence: words from up to, not including, to.
type place struct{ from, to int }

// sense is what the lexicon finds in one sentence.
type sense map[class][]place

// reasons are those of the rules that hold for the sentences of s, each once, in
// no order. Marks are classes which hold for the text as a whole.
func (w *words) reasons(s string, marks ...class) (all []support.Reason) {
	for _, sent := range sentences(s) {
		found := w.sense(sent)
		for _, m := range marks {
			found[m] = append(found[m], place{})
		}
		for _, r := range w.rules {
			if !slices.Contains(all, r.reason) && found.holds(r) {
				all = append(all, r.reason)
			}
		}
	}
	return all
}

// sense looks every word up, leaves out what is harmless, and drops what another
// word near it makes harmless.
func (w *words) sense(s sentence) sense {
	found := sense{}
	for i, word := range s.words {
		w.lookUp(word, func(t term) {
			if end := t.end(s.words, i); end > 0 && !slices.Contains(found[t.class], place{i, end}) {
				found[t.class] = append(found[t.class], place{i, end})
			}
		})
		if masked(word) {
			found["masked"] = append(found["masked"], place{i, i + 1})
		}
	}
	for c, spans := range found {
		if c == "harmless" {
			continue
		}
		found[c] = slices.DeleteFunc(spans, func(a place) bool {
			return slices.ContainsFunc(found["harmless"], func(h place) bool { return h.from < a.to && a.from < h.to })
		})
	}
	for _, d := range w.drops {
		for _, v := range d.victims {
			found[v] = slices.DeleteFunc(found[v], func(a place) bool {
				return slices.ContainsFunc(found[d.cause], func(b place) bool {
					part := a.from <= b.from && b.to <= a.to // "list" in "price list"
					return !part && max(a.from, b.from)-min(a.to, b.to) < d.window
				})
			})
		}
	}
	return found
}

// lookUp calls yield with every term that may begin with word.
func (w *words) lookUp(word string, yield func(term)) {
	all := func(terms []term) {
		for _, t := range terms {
			yield(t)
		}
	}
	all(w.whole[word])
	for i := range word {
		all(w.begun[word[:i]])
	}
	all(w.begun[word])
	if len(word) >= 5 && len(word) <= 12 && len(w.whole[word]) == 0 {
		for _, d := range deletions(word) {
			all(w.misspelt[d])
		}
	}
	if word[0] >= '0' && word[0] <= '9' {
		all(w.whole["#"])
	}
}

// end is where the term ends that begins at word i, 0 if it does not stand there.
// That its first word fits is the look-up's word for it.
func (t term) end(words []string, i int) int {
	if i+len(t.words) > len(words) {
		return 0
	}
	for j, want := range t.words[1:] {
		stem, begun := strings.CutSuffix(want, "*")
		if got := words[i+1+j]; got != stem && !(begun && strings.HasPrefix(got, stem)) {
			return 0
		}
	}
	return i + len(t.words)
}

func (found sense) holds(r rule) bool {
	for _, c := range r.none {
		if len(found[c]) > 0 {
			return false
		}
	}
	return found.within(r.all, nil, r.window)
}

// within says whether a term of each of all stands apart from the others chosen,
// and all of them within window words.
func (found sense) within(all [][]class, chosen []place, window int) bool {
	if len(all) == 0 {
		return true
	}
	for _, c := range all[0] {
		for _, s := range found[c] {
			if s == (place{}) { // of the text as a whole
				if found.within(all[1:], chosen, window) {
					return true
				}
				continue
			}
			first, last, apart := s.from, s.to, true
			for _, o := range chosen {
				first, last = min(first, o.from), max(last, o.to)
				apart = apart && (s.to <= o.from || o.to <= s.from)
			}
			if apart && last-first <= window && found.within(all[1:], append(chosen[:len(chosen):len(chosen)], s), window) {
				return true
			}
		}
	}
	return false
}
