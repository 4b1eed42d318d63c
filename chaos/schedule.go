package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Strike is one entry of a schedule: a nemesis, or two at once, at a time.
type Strike struct {
	N       int           // from 1
	At      time.Duration // since the workload began
	For     time.Duration // how long what lasts should last
	Nemeses []Nemesis     // one or two
}

func (s Strike) String() string {
	var names []string
	for _, n := range s.Nemeses {
		names = append(names, n.ID+" "+n.Name)
	}
	return fmt.Sprintf("%d. %v for %v: %s", s.N, s.At, s.For, strings.Join(names, " + "))
}

// The rhythm of a schedule.
const (
	slot      = 9 * time.Second // from one strike to the next
	lead      = 3 * time.Second // of quiet before the first
	shortest  = 2 * time.Second // that a fault lasts
	everyPair = 3               // every third strike is a pair
)

// Plan lays strikes over the duration of a run. Every nemesis has its turn before
// any has another; which, when, how long and with whom depends on the seed alone.
// What takes longer than is left is left out.
func Plan(seed uint64, duration time.Duration, from []Nemesis) []Strike {
	dice := rand.New(rand.NewPCG(seed, 0x5eed))
	var deck []Nemesis
	draw := func(fits func(Nemesis) bool) (Nemesis, bool) {
		for range 2 {
			if i := slices.IndexFunc(deck, fits); i >= 0 {
				n := deck[i]
				deck = slices.Delete(deck, i, i+1)
				return n, true
			}
			fresh := slices.Clone(from)
			dice.Shuffle(len(fresh), func(i, j int) { fresh[i], fresh[j] = fresh[j], fresh[i] })
			deck = append(deck, fresh...)
		}
		return Nemesis{}, false
	}
	var plan []Strike
	for at := lead; at+shortest <= duration; {
		left := duration - at
		first, ok := draw(func(n Nemesis) bool { return n.Takes <= left })
		if !ok {
			break
		}
		s := Strike{N: len(plan) + 1, At: at, For: shortest + time.Duration(dice.Int64N(int64(slot-shortest))), Nemeses: []Nemesis{first}}
		if s.N%everyPair == 0 && !first.Alone {
			if second, ok := draw(func(n Nemesis) bool { return !n.Alone && n.ID != first.ID && n.Takes <= left }); ok {
				s.Nemeses = append(s.Nemeses, second)
			}
		}
		next := slot
		for _, n := range s.Nemeses {
			s.For = max(s.For, n.Takes)
			if n.Alone {
				next = max(next, n.Takes)
			}
		}
		s.For = min(s.For, left)
		plan = append(plan, s)
		at += next
	}
	return plan
}

// Select finds nemeses by their ids, names, or all of them for an empty list; a
// leading "-" takes one out.
func Select(words []string, have []string) ([]Nemesis, error) {
	all := slices.DeleteFunc(Nemeses(), func(n Nemesis) bool {
		return slices.ContainsFunc(n.Needs, func(what string) bool { return !slices.Contains(have, what) })
	})
	chosen := []Nemesis{}
	if !slices.ContainsFunc(words, func(w string) bool { return !strings.HasPrefix(w, "-") }) {
		chosen = slices.Clone(all)
	}
	for _, word := range words {
		name, out := strings.CutPrefix(word, "-")
		is := func(n Nemesis) bool { return strings.EqualFold(n.ID, name) || n.Name == name }
		if !slices.ContainsFunc(all, is) {
			return nil, fmt.Errorf("choose faults: there is no %q for this build and system; there are %s", name, listed(all))
		}
		if out {
			chosen = slices.DeleteFunc(chosen, is)
			continue
		}
		for _, n := range all {
			if is(n) {
				chosen = append(chosen, n)
			}
		}
	}
	return chosen, nil
}

func listed(all []Nemesis) string {
	var names []string
	for _, n := range all {
		names = append(names, n.ID+" "+n.Name)
	}
	return strings.Join(names, ", ")
}
