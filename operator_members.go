package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// endedFor is how long `fte members` shows a member that has ended; -json shows
// all that the API knows.
const endedFor = 10 * time.Minute

// apiMember is what GET members says of one.
type apiMember struct {
	Name            string    `json:"name"`
	Generation      int64     `json:"generation"`
	SystemID        string    `json:"system_id"`
	State           string    `json:"state"`
	Address         string    `json:"address"`
	Roles           []string  `json:"roles"`
	Weight          float64   `json:"weight"`
	Cordoned        bool      `json:"cordoned"`
	HeartbeatAgeMS  int64     `json:"heartbeat_age_ms"`
	View            int64     `json:"view"`
	ActiveCustomers *int      `json:"active_customers"`
	EndedWhy        string    `json:"ended_why"`
	EndedAt         time.Time `json:"ended_at"` // zero while it lives
}

// memberList is GET members.
type memberList struct {
	Items []apiMember `json:"items"`
	View  int64       `json:"view"`
	AsOf  time.Time   `json:"as_of"`
}

// named is a system id with the name of its member, where that is still known.
func (l memberList) named(id any) string {
	for _, m := range l.Items {
		if m.SystemID == id {
			return fmt.Sprintf("%s generation %d (%s)", m.Name, m.Generation, m.SystemID)
		}
	}
	if id == nil {
		return "nobody"
	}
	return fmt.Sprint(id)
}

// runMembers lists the members once, or with -watch at every change.
func runMembers(ctx context.Context, args []string, out io.Writer) error {
	var watch, asJSON bool
	o, _, err := operatorCommand("members", args, 0, func(f *flag.FlagSet) {
		f.BoolVar(&watch, "watch", false, "show every change until interrupted")
		f.BoolVar(&asJSON, "json", false, "JSON")
	})
	if err != nil {
		return err
	}
	last, lost := "", ""
	for {
		var raw json.RawMessage
		err := o.call(ctx, http.MethodGet, "/members", nil, &raw)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !watch:
			return fmt.Errorf("list the members: %w", err)
		case err != nil && err.Error() != lost: // said once
			lost = err.Error()
			fmt.Fprintln(os.Stderr, "fte members: list the members:", err)
		case err == nil:
			text, what, err := membersText(raw, asJSON)
			if err != nil {
				return err
			}
			if what != last || lost != "" {
				fmt.Fprint(out, text)
			}
			last, lost = what, ""
		}
		if !watch {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// membersText is the list for a reader, and what of it counts as a change: all
// but the passing of time and the moment at which each member learns of a view.
func membersText(raw json.RawMessage, asJSON bool) (text, what string, err error) {
	var list memberList
	if err := json.Unmarshal(raw, &list); err != nil {
		return "", "", fmt.Errorf("read the members: %w", err)
	}
	var b, same strings.Builder
	fmt.Fprintf(&b, "view %d\n", list.View)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tGEN\tSTATE\tADDRESS\tROLES\tHEARTBEAT\tVIEW\tCUSTOMERS\tSYSTEM ID\tENDED")
	for _, m := range list.Items {
		ended := !m.EndedAt.IsZero()
		if ended && list.AsOf.Sub(m.EndedAt) > endedFor {
			continue
		}
		state, heartbeat, active := m.State, fmt.Sprintf("%dms", m.HeartbeatAgeMS), "-"
		if ended {
			heartbeat = "-"
		} else {
			if m.Cordoned {
				state += ",cordoned"
			}
			if m.Weight != 1 {
				state += fmt.Sprintf(",weight %g", m.Weight)
			}
		}
		if m.ActiveCustomers != nil {
			active = fmt.Sprint(*m.ActiveCustomers)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n",
			m.Name, m.Generation, state, m.Address, strings.Join(m.Roles, ","), heartbeat, m.View, active, m.SystemID, m.EndedWhy)
		fmt.Fprintln(&same, m.SystemID, state, m.Address, m.Roles, active, m.EndedWhy)
	}
	w.Flush()
	if !asJSON {
		return b.String(), same.String(), nil
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", " "); err != nil {
		return "", "", fmt.Errorf("read the members: %w", err)
	}
	return indented.String() + "\n", same.String(), nil
}
