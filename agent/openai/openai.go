// Package openai is a model behind OpenAI's API or anything that speaks it: the
// Responses API by default, chat/completions for servers that have no other.
// Nothing is stored there, and each call is one attempt.
package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"fte/agent"
)

// The APIs.
const (
	Responses = "responses"
	Chat      = "chat"
)

// maxAnswer is the most bytes of an answer that are read.
const maxAnswer = 4 << 20

// MemberHeader carries the system id of the member that calls, so that a
// simulated server can tell who did.
const MemberHeader = "X-FTE-Member"

// Price is what a model costs, in millionths of a dollar per million tokens.
type Price struct{ In, Cached, Out int64 }

// Config says which model to call and how. BaseURL, Model and Client are
// required.
type Config struct {
	BaseURL string       // with its path, e.g. https://api.openai.com/v1
	Key     string       // sent as bearer token; empty: none is sent
	Model   string       // model id
	API     string       // Responses or Chat. Defaults to Responses
	Client  *http.Client // makes the connections. Retries and time limits are the agent's
	Member  string       // this member's system id; empty: not sent
	Price   Price        // for the accounts; zero: unknown
	// Reasoning is the effort asked of a reasoning model (low, medium, high); its
	// encrypted reasoning is then handed back within a turn. Empty: no such model.
	Reasoning string
}

// Model calls a model. It is safe for concurrent use.
type Model struct {
	cfg       Config
	responses responses.ResponseService
	chat      openai.ChatCompletionService
}

// New checks cfg and returns its Model. It connects to nothing.
func New(cfg Config) (*Model, error) {
	u, err := url.Parse(cfg.BaseURL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("make model: the base URL is not an http URL")
	case cfg.Model == "":
		return nil, errors.New("make model: no model id")
	case cfg.Client == nil:
		return nil, errors.New("make model: no HTTP client")
	}
	if cfg.API == "" {
		cfg.API = Responses
	}
	if cfg.API != Responses && cfg.API != Chat {
		return nil, fmt.Errorf("make model: there is no API %q; the APIs are %s and %s", cfg.API, Responses, Chat)
	}
	if u.Path == "" { // the SDK joins paths only below one that ends in a slash
		u.Path = "/"
	}
	opts := []option.RequestOption{
		option.WithBaseURL(u.String()), option.WithHTTPClient(cfg.Client), option.WithMaxRetries(0), option.WithAPIKey(cfg.Key),
		option.WithMiddleware(limited),
	}
	if cfg.Key == "" {
		opts = append(opts, option.WithHeaderDel("Authorization"))
	}
	if cfg.Member != "" {
		opts = append(opts, option.WithHeader(MemberHeader, cfg.Member))
	}
	// Not NewClient: that would also read the environment.
	return &Model{cfg: cfg, responses: responses.NewResponseService(opts...), chat: openai.NewChatCompletionService(opts...)}, nil
}

// limited bounds the answer that is read.
func limited(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	resp, err := next(req)
	if err == nil {
		body := resp.Body
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(body, maxAnswer), body}
	}
	return resp, err
}

// Name implements agent.Model.
func (m *Model) Name() string { return m.cfg.Model }

// Complete implements agent.Model.
func (m *Model) Complete(ctx context.Context, req agent.Request) (agent.Response, error) {
	var out agent.Response
	var err error
	if m.cfg.API == Chat {
		out, err = m.completeChat(ctx, req)
	} else {
		out, err = m.completeResponses(ctx, req)
	}
	if err != nil {
		return agent.Response{}, err
	}
	fresh := int64(max(0, out.TokensIn-out.TokensCached))
	out.CostMicroUSD = (fresh*m.cfg.Price.In + int64(out.TokensCached)*m.cfg.Price.Cached + int64(out.TokensOut)*m.cfg.Price.Out + 999_999) / 1_000_000
	return out, nil
}

func unreadable(why string) error {
	return &agent.ModelError{Failure: agent.FailTransient, Err: errors.New("the answer cannot be read: " + why)}
}
