package harness

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"fte/chaos/checker"
	"fte/chaos/fault"
)

// Where connections lead, for Cut.
const (
	ToPostgres = "postgres"
	ToKafka    = "kafka"
	ToVendors  = "vendors"
	ToPeers    = "peers"
)

// Cut breaks every member's connections (or those of the one named from) to
// where, which is one of the constants or a member's name, until heal is called.
// With blackhole packets vanish; without it connections are reset and refused.
type Cut struct {
	From, To  string
	Blackhole bool
}

// Cut sets the cuts at once and returns the way back.
func (d *Dev) Cut(cuts ...Cut) (heal func(), err error) {
	if d.Proxy == nil {
		return nil, errors.New("cut: fte dev was started without a proxy")
	}
	var rules []fault.Rule
	for _, c := range cuts {
		to, err := d.addresses(c)
		if err != nil {
			return nil, err
		}
		rules = append(rules, fault.Rule{From: c.From, To: to, Blackhole: c.Blackhole})
	}
	before, from := d.Proxy.Struck(), time.Now()
	d.Proxy.Set(rules...)
	return func() {
		d.Proxy.Heal()
		after := d.Proxy.Struck()
		reset, refused, frozen := after.Reset-before.Reset, after.Refused-before.Refused, after.Frozen-before.Frozen
		kind := "cut"
		if cuts[0].Blackhole {
			kind = "blackhole"
		}
		d.Note(checker.Fault{Kind: kind, Target: fmt.Sprint(cuts), From: from, To: time.Now(), Fired: reset+refused+frozen > 0,
			Evidence: fmt.Sprintf("%d connections reset, %d refused, %d frozen", reset, refused, frozen)})
	}, nil
}

// addresses are the destinations of a cut.
func (d *Dev) addresses(c Cut) ([]string, error) {
	r, err := d.Now()
	if err != nil {
		return nil, err
	}
	switch c.To {
	case ToPostgres:
		u, err := url.Parse(r.DatabaseURL)
		if err != nil {
			return nil, fmt.Errorf("cut: %w", err)
		}
		return []string{u.Host}, nil
	case ToKafka:
		return r.Kafka, nil
	case ToVendors:
		return []string{strings.TrimPrefix(r.Sim, "http://")}, nil
	}
	var to []string
	for _, m := range r.Members {
		if c.To == m.Name || c.To == ToPeers && c.From != m.Name {
			to = append(to, m.Address)
		}
	}
	if len(to) == 0 {
		return nil, fmt.Errorf("cut: nothing is called %q", c.To)
	}
	return to, nil
}
