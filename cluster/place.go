package cluster

import (
	"math"
	"slices"
)

// View is the membership as one member holds it. It is immutable.
type View struct {
	Number  int64
	Members []Member // the living, in order of name and generation
}

// Member returns the living member with a system id.
func (v *View) Member(id string) (Member, bool) {
	for _, m := range v.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// Owner returns the member that owns an identity: the highest score among active,
// uncordoned members of positive weight that have the kind.
func (v *View) Owner(kind, id string) (Member, bool) {
	return v.best(kind, id, func(m *Member) bool { return m.State == StateActive && !m.Cordoned })
}

// leaver returns the member that owned the identity before it began to drain or
// was cordoned, if there is one: it may still be finishing that identity's work.
func (v *View) leaver(kind, id string) (Member, bool) {
	m, ok := v.best(kind, id, func(m *Member) bool { return m.State == StateActive || m.State == StateDraining })
	return m, ok && (m.State == StateDraining || m.Cordoned)
}

func (v *View) best(kind, id string, may func(*Member) bool) (Member, bool) {
	h := hash(hash(fnvOffset, kind), id)
	best, top := -1, math.Inf(-1)
	for i := range v.Members {
		m := &v.Members[i]
		if m.Weight <= 0 || !may(m) || !slices.Contains(m.Kinds, kind) {
			continue
		}
		// The name, not the system id: a restart takes no identity elsewhere.
		if s := score(mix(hash(h, m.Name)), m.Weight); s > top {
			best, top = i, s
		}
	}
	if best < 0 {
		return Member{}, false
	}
	return v.Members[best], true
}

// score is the logarithmic method of weighted rendezvous hashing: -w/ln(u) with u
// uniform in (0, 1). The share of a member is its weight's share of the sum, and a
// change of one weight moves identities to or from that member only.
func score(h uint64, weight float64) float64 {
	u := (float64(h>>11) + 0.5) / (1 << 53)
	return -weight / math.Log(u)
}

const fnvOffset = 14695981039346656037

// hash is FNV-1a over s and a separator, so that ("a", "bc") and ("ab", "c") differ.
func hash(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return (h ^ 0xff) * 1099511628211
}

// mix is the finalizer of MurmurHash3: FNV alone leaves the high bits of similar
// names alike, and the scores with them.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}
