package harness

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"fte/chaos/checker"
	"fte/chaos/fault"
)

// Where connections lead, for Cut and Disturb.
const (
	ToPostgres = "postgres"
	ToKafka    = "kafka"
	ToVendors  = "vendors"
	ToPeers    = "peers"
)

// Kinds of disturbance beside those that a rule's harm names.
const (
	Flap      = "flap"
	LoseReply = "lose_reply"
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
	var rules []fault.Rule
	harm := fault.Cut
	for _, c := range cuts {
		if harm = fault.Cut; c.Blackhole {
			harm = fault.Freeze
		}
		rules = append(rules, fault.Rule{From: c.From, To: []string{c.To}, Harm: harm})
	}
	on, err := d.Disturb(string(harm), rules...)
	if err != nil {
		return nil, fmt.Errorf("cut: %w", err)
	}
	return func() { on.Heal() }, nil
}

// Disturbance is something wrong with the network.
type Disturbance struct {
	dev   *Dev
	kind  string
	names []fault.Rule // as they were given
	rules []fault.Rule // with addresses
	from  time.Time

	mu   sync.Mutex // guards what follows
	on   *fault.Fault
	past fault.Struck // what was done before on
	over bool
}

// Disturb puts rules on the network, beside those that are on already, until
// Heal, which notes them as one fault of that kind. To of a rule lists what the
// constants and members' names mean now; a member that comes back keeps its address.
func (d *Dev) Disturb(kind string, rules ...fault.Rule) (*Disturbance, error) {
	if d.Proxy == nil {
		return nil, errors.New("disturb the network: fte dev was started without a proxy")
	}
	n := &Disturbance{dev: d, kind: kind, names: rules, from: time.Now()}
	for _, r := range rules {
		names := r.To
		r.To = nil
		for _, name := range names {
			to, err := d.addresses(r.From, name)
			if err != nil {
				return nil, fmt.Errorf("disturb the network: %w", err)
			}
			r.To = append(r.To, to...)
		}
		n.rules = append(n.rules, r)
	}
	n.on = d.Proxy.Add(n.rules...)
	return n, nil
}

// Struck is what was done up to now.
func (n *Disturbance) Struck() fault.Struck {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.on == nil {
		return n.past
	}
	return n.past.Plus(n.on.Struck())
}

// Pause takes the rules off for a while: what flaps is on and off by turns.
func (n *Disturbance) Pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.off()
}

// Resume puts the rules back on.
func (n *Disturbance) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.on == nil && !n.over {
		n.on = n.dev.Proxy.Add(n.rules...)
	}
}

func (n *Disturbance) off() {
	if n.on != nil {
		n.past, n.on = n.past.Plus(n.on.Heal()), nil
	}
}

// Heal takes the rules off for good and, the first time, notes what they did.
func (n *Disturbance) Heal() fault.Struck {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.off()
	if !n.over {
		n.over = true
		n.dev.Note(checker.Fault{Kind: n.kind, Target: edges(n.names), From: n.from, To: time.Now(), Fired: n.past.Fired(), Evidence: n.past.String()})
	}
	return n.past
}

// edges names what rules are about, e.g. worker-1>peers, all>worker-1.
func edges(rules []fault.Rule) string {
	var names []string
	for _, r := range rules {
		from, to := r.From, strings.Join(r.To, "+")
		if from == "" {
			from = "all"
		}
		if to == "" {
			to = "all"
		}
		if name := from + ">" + to; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// addresses are where a name leads for the one who dials.
func (d *Dev) addresses(from, name string) ([]string, error) {
	r, err := d.Now()
	if err != nil {
		return nil, err
	}
	switch name {
	case ToPostgres:
		u, err := url.Parse(r.DatabaseURL)
		if err != nil {
			return nil, fmt.Errorf("find the database: %w", err)
		}
		return []string{u.Host}, nil
	case ToKafka:
		return r.Kafka, nil
	case ToVendors:
		return []string{strings.TrimPrefix(r.Sim, "http://")}, nil
	}
	var to []string
	for _, m := range slices.Concat(r.Members, d.registered()) {
		if (name == m.Name || name == ToPeers && from != m.Name) && m.Address != "" && !slices.Contains(to, m.Address) {
			to = append(to, m.Address)
		}
	}
	if len(to) == 0 {
		return nil, fmt.Errorf("nothing is called %q", name)
	}
	return to, nil
}

// registered are the members that the database knows of: those too that the
// supervisor did not start. They are none while the database is away.
func (d *Dev) registered() (members []Member) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := d.store(ctx)
	if err != nil {
		return nil
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT name, host || ':' || port FROM members WHERE state NOT IN ('dead', 'left')`)
	if err != nil {
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var m Member
		if rows.Scan(&m.Name, &m.Address) == nil {
			members = append(members, m)
		}
	}
	return members
}
