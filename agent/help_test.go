package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/agent/knowledge"
	"fte/agent/local"
	"fte/agent/tool"
	"fte/support"
)

const (
	customer = support.CustomerID("0198f3c4-0000-7000-8000-000000000001")
	ticketID = "0198f3c4-0000-7000-8000-0000000000aa"
)

// base is the knowledge base over the project's articles, learnt once.
var base = sync.OnceValue(func() *knowledge.Base {
	b, err := knowledge.New(&knowledge.Memory{})
	if err != nil {
		panic(err)
	}
	if _, err := b.Learn(context.Background(), os.DirFS("../context/knowledge")); err != nil {
		panic(err)
	}
	return b
})

// config is what tests run with; model nil is the local one.
func config(model agent.Model) agent.Config {
	if model == nil {
		model = local.Model{}
	}
	return agent.Config{
		Model: model, Knowledge: base(), Tools: tool.All(base(), nil), Secret: []byte("a secret of tests"),
		Rivals: []string{"Trello", "Asana"}, Links: []string{"fieldnote.example"}, Contacts: []string{"support@fieldnote.example"},
		Backoff: time.Millisecond,
	}
}

func newAgent(t *testing.T, cfg agent.Config) *agent.Agent {
	t.Helper()
	a, err := agent.New(cfg)
	require.NoError(t, err)
	return a
}

// ask is a turn of one message.
func ask(ch support.Channel, text string) support.TurnInput {
	reply := map[support.Channel]string{support.Email: "ann@customer.example", support.WhatsApp: "whatsapp:+14155550123", support.WebForm: "ann@customer.example"}[ch]
	return support.TurnInput{
		Customer: customer, Turn: 1, Channel: ch, FirstReply: true,
		Ticket: support.Ticket{ID: ticketID, Reference: support.TicketReference(ticketID), Status: support.TicketOpen},
		Inputs: []support.Message{{Customer: customer, Seq: 1, Direction: support.In, Channel: ch, By: support.ByCustomer, Body: text, Level: support.ChannelVerified, Envelope: support.Envelope{ReplyTo: reply, Type: "text"}}},
		Scope:  support.Scope{Level: support.ChannelVerified, Channel: ch},
	}
}

// book is a journal in memory.
type book struct{ steps []support.Step }

func (b *book) record(_ context.Context, s support.Step) error {
	if s.Step != len(b.steps)+1 {
		return fmt.Errorf("step %d follows %d", s.Step, len(b.steps))
	}
	b.steps = append(b.steps, s)
	return nil
}

// script is a model that plays what it is told, one entry a call, and keeps what
// it was asked.
type script struct {
	mu    sync.Mutex
	play  []func(context.Context, agent.Request) (agent.Response, error)
	asked []agent.Request
}

func (s *script) Name() string { return "script" }

func (s *script) Complete(ctx context.Context, req agent.Request) (agent.Response, error) {
	s.mu.Lock()
	n := len(s.asked)
	s.asked = append(s.asked, req)
	s.mu.Unlock()
	return s.play[min(n, len(s.play)-1)](ctx, req)
}

func (s *script) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

type act = func(context.Context, agent.Request) (agent.Response, error)

func does(name string, args any) act {
	return func(context.Context, agent.Request) (agent.Response, error) {
		return agent.Response{Model: "script", Calls: []agent.Call{{ID: "c_" + name, Name: name, Arguments: text(args)}}, TokensIn: 100, TokensOut: 10}, nil
	}
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func says(message string) act { return does("send_response", map[string]string{"message": message}) }

func searches(query string) act {
	return does("search_knowledge_base", map[string]any{"query": query, "max_results": nil, "category": nil})
}

func fails(f agent.Failure) act {
	return func(context.Context, agent.Request) (agent.Response, error) {
		return agent.Response{}, &agent.ModelError{Failure: f, Err: fmt.Errorf("scripted")}
	}
}

// hangs until it is cut off.
func hangs(ctx context.Context, _ agent.Request) (agent.Response, error) {
	<-ctx.Done()
	return agent.Response{}, ctx.Err()
}
