package workload

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

// town is vendors, an edge and an operator API over customers who are one address
// each, until they link.
type town struct {
	mux *http.ServeMux

	mu     sync.Mutex // guards all below
	people map[string]*citizen
	place  map[string]placed // by external id
	sent   []checker.Send
	tried  map[string]int // requests by path
	// lose, by path, has the answer to a request lost after it was done.
	lose func(path string, n int) bool
}

// citizen is a customer.
type citizen struct {
	address, into, holder string
	seen                  []checker.Seen
	taken, released       int
	strayed               int // taken when the answer to a release was lost; 0: none was
}

func newTown(t *testing.T) (*town, *httptest.Server) {
	v := &town{mux: http.NewServeMux(), people: map[string]*citizen{}, place: map[string]placed{}, tried: map[string]int{}}
	v.mux.HandleFunc("POST /_ctl/whatsapp/inbound", v.whatsApp)
	v.mux.HandleFunc("POST /_ctl/gmail/inbound", v.mail)
	v.mux.HandleFunc("GET /_ctl/sent", v.list)
	v.mux.HandleFunc("POST /support/submit", v.submit)
	v.mux.HandleFunc("POST /support/ticket/{id}/{what}", v.prove)
	v.mux.HandleFunc("POST /link", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<a href="https://wa.me/1?text=LINK-%s">`, strings.TrimPrefix(r.FormValue("token"), "tok."))
	})
	v.mux.HandleFunc("GET /api/v1/messages", func(w http.ResponseWriter, r *http.Request) {
		if p, known := v.place[r.FormValue("external_id")]; known {
			answer(w, p)
			return
		}
		http.NotFound(w, r)
	})
	v.mux.HandleFunc("GET /api/v1/tickets", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]any{"items": []any{}}) })
	v.mux.HandleFunc("/api/v1/customers/{id}/{what...}", v.customer)
	v.mux.HandleFunc("GET /api/v1/customers/{id}", v.customer)
	web := httptest.NewServer(v)
	t.Cleanup(web.Close)
	return v, web
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func (v *town) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	what := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	v.tried[what]++
	lost := httptest.NewRecorder()
	if v.lose != nil && v.lose(what, v.tried[what]) {
		v.mux.ServeHTTP(lost, r)
		if c := v.people[r.PathValue("id")]; c != nil && what == "release" {
			c.strayed = c.taken
		}
		panic(http.ErrAbortHandler) // the connection breaks without an answer
	}
	v.mux.ServeHTTP(w, r)
}

// store gives a message its place with whoever has the address.
func (v *town) store(address, externalID string) {
	id := ""
	for of, c := range v.people {
		if c.address == address {
			id = of
		}
	}
	if id == "" {
		id = fmt.Sprintf("00000000-0000-4000-8000-%012d", len(v.people)+1)
		v.people[id] = &citizen{address: address}
	}
	c := v.people[id]
	c.seen = append(c.seen, checker.Seen{Seq: int64(len(c.seen) + 1), Direction: "in", ExternalID: externalID})
	v.place[externalID] = placed{CustomerID: id, Seq: int64(len(c.seen)), Outcome: "answered"}
}

func (v *town) say(channel, to, text string) {
	v.sent = append(v.sent, checker.Send{N: int64(len(v.sent) + 1), Channel: channel, To: to, Text: text})
}

func (v *town) list(w http.ResponseWriter, r *http.Request) {
	sent := []checker.Send{}
	for _, s := range v.sent {
		if s.Channel == r.FormValue("channel") && s.To == r.FormValue("to") {
			sent = append(sent, s)
		}
	}
	answer(w, sent)
}

func (v *town) whatsApp(w http.ResponseWriter, r *http.Request) {
	from, said := r.FormValue("From"), r.FormValue("Body")
	v.store(from, r.FormValue("MessageSid"))
	switch {
	case strings.HasPrefix(said, "LINK-"):
		v.say("whatsapp", from, "Link this WhatsApp to the e-mail c•••? Reply YES within 10 minutes.")
	case said == "YES":
		v.say("whatsapp", from, "This WhatsApp is now linked to your e-mail address.")
	}
	fmt.Fprint(w, `{"webhook_status":200}`)
}

func (v *town) mail(w http.ResponseWriter, r *http.Request) {
	m, err := mail.ReadMessage(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	from, _ := m.Header.AddressList("From")
	id := "g" + strconv.Itoa(len(v.place))
	v.store(from[0].Address, "support@fte.test/"+id)
	v.say("email", from[0].Address, "To go on by WhatsApp open https://support.example/link#tok.0MA1LMA1. Bye.")
	fmt.Fprintf(w, `{"id":%q,"threadId":"t"}`, id)
}

func (v *town) submit(w http.ResponseWriter, r *http.Request) {
	var form struct{ Email string }
	_ = json.NewDecoder(r.Body).Decode(&form)
	id := "ticket-" + r.Header.Get("Idempotency-Key")
	if _, known := v.place[id]; !known {
		v.store(form.Email, id)
	}
	answer(w, map[string]string{"ticket_id": id, "access_token": "of " + id})
}

// prove is not ready at first, and mails a code.
func (v *town) prove(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	var in struct{ Code string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	switch what := r.PathValue("what"); {
	case r.Header.Get("Authorization") != "Bearer of "+id:
		w.WriteHeader(http.StatusUnauthorized)
	case what == "verify" && v.tried["verify"] == 1:
		w.WriteHeader(http.StatusServiceUnavailable)
	case what == "verify":
		v.say("email", v.people[v.place[id].CustomerID].address, "Your code is 123456. It is valid for 10 minutes.")
		w.WriteHeader(http.StatusAccepted)
	case in.Code == "123456":
		answer(w, map[string]any{"verified": true, "link_page": "https://support.example/link#tok.0F0RM0F0"})
	default:
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
}

func (v *town) customer(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	c := v.people[id]
	if c == nil {
		http.NotFound(w, r)
		return
	}
	if c.into != "" {
		w.WriteHeader(http.StatusPermanentRedirect)
		answer(w, map[string]string{"canonical_id": c.into})
		return
	}
	var in struct {
		Person     string
		AnswerHeld *bool `json:"answer_held"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	switch what, _, _ := strings.Cut(r.PathValue("what"), "/"); {
	case what == "":
		answer(w, map[string]any{"held_by": c.holder, "tickets": []any{map[string]string{"id": "t1", "status": "held"}}})
	case what == "takeover" && c.holder != "" && c.holder != in.Person, what == "reply" && r.Method == http.MethodPost && c.holder != in.Person:
		w.WriteHeader(http.StatusConflict)
	case what == "takeover":
		c.holder = in.Person
		c.taken++
		answer(w, map[string]any{"mode": "person", "on_its_way": []string{id + ":1"}})
	case what == "reply":
		answer(w, map[string]string{"key": id + ":9"})
	case what == "release" && in.AnswerHeld != nil:
		c.holder = ""
		c.released++
		w.WriteHeader(http.StatusNoContent)
	case what == "messages":
		answer(w, v.page(id, r.FormValue("limit")))
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// page is the newest messages of a customer and of those merged into it.
func (v *town) page(id, limit string) map[string]any {
	type item struct {
		CustomerID string  `json:"customer_id"`
		Seq        int64   `json:"seq"`
		Direction  string  `json:"direction"`
		ExternalID *string `json:"external_id"`
	}
	items := []item{}
	for of, c := range v.people {
		for _, m := range slices.Backward(c.seen) {
			if of == id || c.into == id {
				items = append(items, item{of, m.Seq, m.Direction, &m.ExternalID})
			}
		}
	}
	next := ""
	if most, _ := strconv.Atoi(limit); len(items) > most {
		items, next = items[:most], "more"
	}
	return map[string]any{"items": items, "next": next}
}

// populated is a town with a workload.
func populated(t *testing.T, change func(*Config)) (*town, *Workload) {
	v, web := newTown(t)
	cfg := Config{Sim: web.URL, APIs: []string{web.URL, web.URL}, SiteKey: "dev", Mailbox: "support@fte.test", Channels: three, Run: "r", Seed: 1, Customers: 8, Messages: 40, Over: -1}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
	require.NoError(t, err)
	return v, w
}
