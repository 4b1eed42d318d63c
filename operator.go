package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// operator is the client of a running system's operator API.
type operator struct {
	base, token string
	http        *http.Client
	dir         string // of the fte dev that was found
	supervisor  int    // its process; 0: the system is not an fte dev
}

// findOperator finds the running system by FTE_API and FTE_TOKEN, else by
// DIR/dev.json.
func findOperator(dir string) (*operator, error) {
	o := &operator{base: strings.TrimSuffix(os.Getenv("FTE_API"), "/"), token: os.Getenv("FTE_TOKEN"), http: &http.Client{Timeout: 10 * time.Second}}
	if o.base != "" {
		if o.token == "" {
			return nil, errors.New("find the running system: FTE_API is set, FTE_TOKEN is not")
		}
		return o, nil
	}
	j, err := readDevJSON(dir)
	if err != nil {
		return nil, fmt.Errorf("find the running system: %w; name its folder with -dir, or set FTE_API and FTE_TOKEN", err)
	}
	o.base, o.token, o.dir, o.supervisor = j.HTTP, j.OperatorToken, dir, j.SupervisorPID
	return o, nil
}

// call makes one request and decodes the answer into out, or returns the
// problem's own words.
func (o *operator) call(ctx context.Context, method, path string, body, out any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, o.base+"/api/v1"+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := o.http.Do(req)
	if err != nil && o.supervisor != 0 && errors.Is(syscall.Kill(o.supervisor, 0), syscall.ESRCH) {
		return fmt.Errorf("ask %s: the fte dev of %s does not run any more", o.base, o.dir)
	}
	if err != nil {
		return fmt.Errorf("ask %s: %w", o.base, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		p := struct{ Title, Detail string }{Title: http.StatusText(res.StatusCode)}
		json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&p)
		return &statusError{status: res.StatusCode, text: cmp.Or(p.Detail, p.Title)}
	}
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return nil
}

// statusError is a refusal of the operator API.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return fmt.Sprintf("refused with %d: %s", e.status, e.text) }

// isStatus says whether err is a refusal with this status.
func isStatus(err error, status int) bool {
	var refused *statusError
	return errors.As(err, &refused) && refused.status == status
}

// operatorCommand parses the flags that all commands on a running system share.
func operatorCommand(name string, args []string, most int, more func(*flag.FlagSet)) (*operator, []string, error) {
	f := flags(name)
	dir := f.String("dir", ".fte", "folder of the running fte dev")
	if more != nil {
		more(f)
	}
	words, err := parseMixed(f, args, most)
	if err != nil {
		return nil, nil, err
	}
	o, err := findOperator(*dir)
	return o, words, err
}

var isUUID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// runWho answers "who owns it" for a customer's id, an address, a message's
// external id or a ticket.
func runWho(ctx context.Context, args []string, out io.Writer) error {
	var asJSON bool
	o, words, err := operatorCommand("who", args, 1, func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "JSON") })
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return fmt.Errorf("%w: name a customer's id, an address, a message's external id or a ticket", errUsage)
	}
	what, found := words[0], map[string]any{}
	id := what
	if !isUUID.MatchString(what) {
		if id, err = o.resolve(ctx, what, found); err != nil {
			return err
		}
	}
	var customer map[string]any
	err = o.call(ctx, http.MethodGet, "/customers/"+url.PathEscape(id), nil, &customer)
	if isStatus(err, http.StatusNotFound) && id == what { // a form's message is called by its ticket's id
		if id, err = o.writer(ctx, what, found); err != nil {
			return err
		}
		err = o.call(ctx, http.MethodGet, "/customers/"+url.PathEscape(id), nil, &customer)
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", id, err)
	}
	found["customer"] = customer
	var owners struct {
		Items []map[string]any `json:"items"`
	}
	if err := o.call(ctx, http.MethodGet, "/customers/"+url.PathEscape(id)+"/ownership", nil, &owners); err != nil {
		return fmt.Errorf("look up the owners of %s: %w", id, err)
	}
	found["ownership"] = owners.Items
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", " ")
		return e.Encode(found)
	}
	var list memberList
	if err := o.call(ctx, http.MethodGet, "/members", nil, &list); err != nil {
		return fmt.Errorf("look up the members: %w", err)
	}
	mode := fmt.Sprint(customer["mode"])
	if by, ok := customer["held_by"].(string); ok {
		mode += ", held by " + by
	}
	if to := fmt.Sprint(customer["id"]); isUUID.MatchString(to) && !strings.EqualFold(to, id) {
		fmt.Fprintf(out, "merged    %v\n", id)
		id = to
	}
	fmt.Fprintf(out, "customer  %v\nowner     %s\nepoch     %v\nversion   %v\nmode      %s\nresident  %v\n",
		id, list.named(customer["owner"]), customer["epoch"], customer["version"], mode, customer["resident"])
	if m, ok := found["message"].(map[string]any); ok {
		fmt.Fprintf(out, "message   seq %v, turn %v, outcome %v\n", m["seq"], m["turn"], m["outcome"])
	}
	for _, h := range owners.Items {
		fmt.Fprintf(out, "          epoch %v  %v  %v  %s\n", h["epoch"], h["at"], h["reason"], list.named(h["owner"]))
	}
	return nil
}

// resolve finds the customer of an address, of a message or of a ticket.
func (o *operator) resolve(ctx context.Context, what string, found map[string]any) (string, error) {
	query := ""
	switch {
	case strings.HasPrefix(what, "+"), strings.HasPrefix(what, "whatsapp:+"):
		query = "phone=" + url.QueryEscape(strings.TrimPrefix(what, "whatsapp:"))
	case strings.Contains(what, "@") && !strings.Contains(what[strings.LastIndex(what, "@"):], "/"): // a mail is MAILBOX/ID
		query = "email=" + url.QueryEscape(what)
	}
	if query != "" {
		var list struct {
			Items []struct {
				ID string `json:"id"`
			} `json:"items"`
		}
		if err := o.call(ctx, http.MethodGet, "/customers?"+query, nil, &list); err != nil {
			return "", fmt.Errorf("look up %s: %w", what, err)
		}
		if len(list.Items) == 0 {
			return "", fmt.Errorf("look up %s: nobody has this address", what)
		}
		return list.Items[0].ID, nil
	}
	return o.writer(ctx, what, found)
}

// writer finds the customer who wrote a message, by its external id, or whose the
// ticket is, by id or reference.
func (o *operator) writer(ctx context.Context, what string, found map[string]any) (string, error) {
	for _, channel := range []string{"whatsapp", "email", "webform"} {
		var m map[string]any
		err := o.call(ctx, http.MethodGet, "/messages?channel="+channel+"&external_id="+url.QueryEscape(what), nil, &m)
		if isStatus(err, http.StatusNotFound) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("look up message %s: %w", what, err)
		}
		found["message"] = m
		id, _ := m["customer_id"].(string)
		return id, nil
	}
	var ticket struct {
		Customer string `json:"customer_id"`
	}
	err := o.call(ctx, http.MethodGet, "/tickets/"+url.PathEscape(what), nil, &ticket)
	if isStatus(err, http.StatusNotFound) {
		return "", fmt.Errorf("look up %s: it is no customer's id, no address we know, no message that is stored and no ticket", what)
	}
	if err != nil {
		return "", fmt.Errorf("look up ticket %s: %w", what, err)
	}
	return ticket.Customer, nil
}

func runDLQ(ctx context.Context, args []string, out io.Writer) error {
	o, words, err := operatorCommand("dlq", args, 2, nil)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return fmt.Errorf("%w: say list, show, replay or purge", errUsage)
	}
	method, path := http.MethodGet, "/dlq"
	switch {
	case words[0] == "list" && len(words) == 1:
	case words[0] == "show" && len(words) == 2:
		path += "/" + url.PathEscape(words[1])
	case (words[0] == "replay" || words[0] == "purge") && len(words) == 2:
		method, path = http.MethodPost, path+"/"+url.PathEscape(words[1])+"/"+words[0]
	default:
		return fmt.Errorf("%w: %q", errUsage, strings.Join(words, " "))
	}
	var raw any
	if err := o.call(ctx, method, path, nil, &raw); err != nil {
		return fmt.Errorf("%s dead letters: %w", words[0], err)
	}
	if method == http.MethodPost {
		fmt.Fprintf(out, "%s: %s\n", map[string]string{"replay": "will be tried again", "purge": "purged"}[words[0]], words[1])
		return nil
	}
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(raw)
}
