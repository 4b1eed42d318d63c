package whatsapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"fte/support"

	"github.com/twilio/twilio-go/client"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 8 << 20

// errGate: the dispatcher's last check forbade the send before a byte left.
var errGate = errors.New("not sent: the last check before writing said no")

// call carries one request of the SDK, which knows neither contexts nor other
// hosts and loses the status of an answer that is not JSON, TW-12. It implements
// client.BaseClient for a single call.
type call struct {
	ctx    context.Context
	sender *Sender

	status int         // of the answer; 0: none came
	header http.Header // of the answer
	wrote  atomic.Bool // the body was handed to the connection
}

// SendRequest implements client.BaseClient.
func (c *call) SendRequest(method, rawURL string, data url.Values, headers map[string]any, _ ...byte) (*http.Response, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host, u.Path = c.sender.base.Scheme, c.sender.base.Host, strings.TrimSuffix(c.sender.base.Path, "/")+u.Path
	if method != http.MethodPost && data != nil {
		u.RawQuery = data.Encode()
	}
	req, err := http.NewRequestWithContext(c.ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		c.setBody(req, data.Encode())
	}
	for k, v := range headers {
		req.Header.Set(k, fmt.Sprint(v))
	}
	req.Header.Set("User-Agent", "twilio-go/"+client.LibraryVersion+" fte")
	req.SetBasicAuth(c.sender.cfg.AccountSID, c.sender.cfg.AuthToken)
	resp, err := c.sender.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL holds addresses
		}
		return nil, err
	}
	c.status, c.header = resp.StatusCode, resp.Header
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	refusal := &client.TwilioRestError{}
	if json.NewDecoder(resp.Body).Decode(refusal) != nil {
		refusal = &client.TwilioRestError{}
	}
	refusal.Status = resp.StatusCode
	return nil, refusal
}

// setBody gives the request a body that asks the dispatcher's last check when the
// transport first reads it. Headers are buffered until then, so that nothing has
// left when the answer is no.
func (c *call) setBody(req *http.Request, body string) {
	open := func() (io.ReadCloser, error) {
		return io.NopCloser(&gated{call: c, body: strings.NewReader(body)}), nil
	}
	req.Body, _ = open()
	req.GetBody = open // for a connection that died before anything was written
	req.ContentLength = int64(len(body))
}

type gated struct {
	call *call
	body *strings.Reader
	open bool
}

// Read implements io.Reader.
func (g *gated) Read(p []byte) (int, error) {
	if !g.open {
		if err := support.MayWrite(g.call.ctx); err != nil {
			return 0, fmt.Errorf("%w: %w", errGate, err)
		}
		g.open = true
		g.call.wrote.Store(true)
	}
	return g.body.Read(p)
}

// certain says whether a request that failed with err surely had no effect: no
// byte of its body left, or there was no connection.
func (c *call) certain(err error) bool {
	var op *net.OpError
	return !c.wrote.Load() || errors.Is(err, errGate) || (errors.As(err, &op) && op.Op == "dial")
}

// AccountSid implements client.BaseClient.
func (c *call) AccountSid() string { return c.sender.cfg.AccountSID }

// SetTimeout implements client.BaseClient; the context has the deadline.
func (c *call) SetTimeout(time.Duration) {}

// SetOauth implements client.BaseClient.
func (c *call) SetOauth(client.OAuth) {}

// OAuth implements client.BaseClient.
func (c *call) OAuth() client.OAuth { return nil }
