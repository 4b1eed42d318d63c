package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// operatorCommands are the operator's tools besides those that look.
func operatorCommands() []command {
	return []command{
		{"link", "ID|ADDRESS KIND VALUE -level 0..4 -reason TEXT [-dir .fte]", "give an address (email, phone, wa_bsuid) to a customer", runLink},
		{"merge", "LOSER -into SURVIVOR -reason TEXT [-dir .fte]", "unite two customers, each an id or an address", runMerge},
		{"mail", "parse FILE", "read a mail as the e-mail channel would; - is stdin", runMail},
		{"doctor", "[-dir .fte]", "check every setting and credential, and say what to do", runDoctor},
	}
}

// identify is a customer's id, given as one or as an address.
func (o *operator) identify(ctx context.Context, what string) (string, error) {
	if isUUID.MatchString(what) {
		return strings.ToLower(what), nil
	}
	return o.resolve(ctx, what, map[string]any{})
}

// identified is what link and merge answer: the customer as it is now.
type identified struct {
	ID          string `json:"id"`
	Identifiers []struct {
		Kind  string `json:"kind"`
		Value string `json:"value"` // masked
		Level int    `json:"level"`
	} `json:"identifiers"`
}

func (c identified) print(out io.Writer) {
	fmt.Fprintln(out, "customer ", c.ID)
	for _, i := range c.Identifiers {
		fmt.Fprintf(out, "          %s %s, level %d\n", i.Kind, i.Value, i.Level)
	}
}

func runLink(ctx context.Context, args []string, out io.Writer) error {
	var level int
	var reason string
	o, words, err := operatorCommand("link", args, 3, func(f *flag.FlagSet) {
		f.IntVar(&level, "level", -1, "how far it is proved: 0 said, 1 asserted, 2 verified by the channel, 3 proved, 4 verified by a person of ours")
		f.StringVar(&reason, "reason", "", "why, for the audit")
	})
	switch {
	case err != nil:
		return err
	case len(words) != 3:
		return fmt.Errorf("%w: name a customer, a kind and a value", errUsage)
	case level < 0 || level > 4:
		return fmt.Errorf("%w: -level is required, 0 to 4", errUsage)
	case strings.TrimSpace(reason) == "":
		return fmt.Errorf("%w: -reason is required", errUsage)
	}
	id, err := o.identify(ctx, words[0])
	if err != nil {
		return err
	}
	var done identified
	if err := o.command(ctx, "/customers/"+url.PathEscape(id)+"/link", object{"kind": words[1], "value": words[2], "level": level, "reason": reason}, &done); err != nil {
		return fmt.Errorf("link the %s to customer %s: %w", words[1], id, err)
	}
	done.print(out)
	return nil
}

func runMerge(ctx context.Context, args []string, out io.Writer) error {
	var into, reason string
	o, words, err := operatorCommand("merge", args, 1, func(f *flag.FlagSet) {
		f.StringVar(&into, "into", "", "the customer that stays, an id or an address")
		f.StringVar(&reason, "reason", "", "why, for the audit")
	})
	switch {
	case err != nil:
		return err
	case len(words) != 1:
		return fmt.Errorf("%w: name the customer that ends in the other", errUsage)
	case into == "":
		return fmt.Errorf("%w: -into is required", errUsage)
	case strings.TrimSpace(reason) == "":
		return fmt.Errorf("%w: -reason is required", errUsage)
	}
	loser, err := o.identify(ctx, words[0])
	if err != nil {
		return err
	}
	survivor, err := o.identify(ctx, into)
	if err != nil {
		return err
	}
	var done identified
	if err := o.command(ctx, "/customers/"+url.PathEscape(loser)+"/merge", object{"into": survivor, "reason": reason}, &done); err != nil {
		return fmt.Errorf("merge customer %s into %s: %w", loser, survivor, err)
	}
	done.print(out)
	return nil
}

// patience is how long a command is tried again that is refused for now: a
// customer with a turn or a reply under way cannot be merged before it ends.
const patience = 30 * time.Second

// command posts until it is not refused for now.
func (o *operator) command(ctx context.Context, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for {
		err := o.call(ctx, http.MethodPost, path, body, out)
		var refused *statusError
		if !errors.As(err, &refused) || refused.status != http.StatusServiceUnavailable {
			if last != nil && ctx.Err() != nil {
				return last
			}
			return err
		}
		last = err
		select {
		case <-ctx.Done():
			return last
		case <-time.After(time.Second):
		}
	}
}
