package webhook

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"fte/support"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) {
	// fasthttp keeps one clock for all servers of a process, and the cleaner of a
	// stopped pool notices after ten seconds.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// decoder takes forms signed "good"; it copies nothing, so that a test can see
// whether what it was given stays what it was.
type decoder struct{}

func (decoder) open(r support.Request) (url.Values, error) {
	h := http.Header(r.Header)
	if h.Get("X-Twilio-Signature") != "good" {
		return nil, fmt.Errorf("read: %w: secret detail", support.ErrUnauthentic)
	}
	if h.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return nil, fmt.Errorf("read: %w", support.ErrUnsupported)
	}
	v, err := url.ParseQuery(string(r.Body))
	if err != nil || v.Get("MessageSid") == "" {
		return nil, fmt.Errorf("read: %w: MessageSid is missing", support.ErrMalformed)
	}
	if v.Get("MessageSid") == "panic" {
		panic("hello, my number is +15550001111")
	}
	return v, nil
}

func (d decoder) Decode(r support.Request) ([]support.Inbound, error) {
	v, err := d.open(r)
	if err != nil {
		return nil, err
	}
	return []support.Inbound{{Channel: support.WhatsApp, ExternalID: v.Get("MessageSid"), Text: v.Get("Body"), Thread: r.Path + "?" + r.Query}}, nil
}

func (d decoder) DecodeStatus(r support.Request) (support.Receipt, error) {
	v, err := d.open(r)
	return support.Receipt{Channel: support.WhatsApp, ProviderID: v.Get("MessageSid"), State: support.OutSent}, err
}

// sink is a Publisher and Receipts.
type sink struct {
	mu       sync.Mutex
	messages []support.Inbound
	receipts []support.Receipt
	err      error
}

func (s *sink) Publish(_ context.Context, in support.Inbound) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.messages = append(s.messages, in)
	}
	return s.err
}

func (s *sink) Receipt(_ context.Context, r support.Receipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.receipts = append(s.receipts, r)
	}
	return s.err
}

type edge struct {
	*Server
	sink *sink
	url  string
	reg  *prometheus.Registry
	http *http.Client
	logs *observer.ObservedLogs
	stop func()
}

func start(t *testing.T, change ...func(*Config)) *edge {
	core, logs := observer.New(zapcore.DebugLevel)
	e := &edge{sink: &sink{}, reg: prometheus.NewRegistry(), logs: logs, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}}
	cfg := Config{Addr: "127.0.0.1:0", WhatsApp: decoder{}, Publisher: e.sink, Receipts: e.sink, Registerer: e.reg, Gatherer: e.reg, Log: zap.New(core)}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	e.Server, err = New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	var once sync.Once
	e.stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
			e.http.CloseIdleConnections()
		})
	}
	t.Cleanup(e.stop)
	addr, err := e.Addr(t.Context())
	require.NoError(t, err)
	e.url = "http://" + addr.String()
	return e
}

// answerTo sends a request and returns the answer with its body.
func (e *edge) answerTo(t *testing.T, r *http.Request) (*http.Response, string) {
	resp, err := e.http.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func (e *edge) request(t *testing.T, method, path, body string, headers ...string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), method, e.url+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

var signed = []string{"Content-Type", "application/x-www-form-urlencoded", "X-Twilio-Signature", "good"}

func TestAMessageIsPublishedBeforeItsSenderGets200(t *testing.T) {
	e := start(t)
	resp, body := e.answerTo(t, e.request(t, "POST", "/webhooks/whatsapp?a=%20b", "MessageSid=SM1&Body=hi", signed...))
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "text/xml", resp.Header.Get("Content-Type"))
	require.Equal(t, "<Response/>", body)
	require.Equal(t, []support.Inbound{{Channel: support.WhatsApp, ExternalID: "SM1", Text: "hi", Thread: "/webhooks/whatsapp?a=%20b"}}, e.sink.messages)

	resp, body = e.answerTo(t, e.request(t, "POST", "/webhooks/whatsapp/status", "MessageSid=SM1", signed...))
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "<Response/>", body)
	require.Equal(t, "SM1", e.sink.receipts[0].ProviderID)
}

func TestWhatIsPublishedIsNotOverwrittenByLaterRequests(t *testing.T) {
	e := start(t)
	for n := range 200 {
		resp, _ := e.answerTo(t, e.request(t, "POST", "/webhooks/whatsapp", fmt.Sprintf("MessageSid=SM%03d&Body=%s", n, strings.Repeat(fmt.Sprint(n%10), 50)), signed...))
		require.Equal(t, 200, resp.StatusCode)
	}
	for n, in := range e.sink.messages {
		require.Equal(t, fmt.Sprintf("SM%03d", n), in.ExternalID)
		require.Equal(t, strings.Repeat(fmt.Sprint(n%10), 50), in.Text)
		require.Equal(t, "/webhooks/whatsapp?", in.Thread)
	}
}

func TestBadInputIsRefusedAndNothingIsPublished(t *testing.T) {
	big := "MessageSid=SM1&Body=" + strings.Repeat("x", webhookLimit)
	cases := map[string]struct {
		method, path, body string
		headers            []string
		status             int
		reason, detail     string
		allow              string
	}{
		"unsigned":                 {"POST", "/webhooks/whatsapp", "MessageSid=SM1", signed[:2], 403, "unauthentic", "", ""},
		"unsigned status":          {"POST", "/webhooks/whatsapp/status", "MessageSid=SM1", signed[:2], 403, "unauthentic", "", ""},
		"wrongly signed":           {"POST", "/webhooks/whatsapp", "MessageSid=SM1", append([]string{"X-Twilio-Signature", "bad"}, signed[:2]...), 403, "unauthentic", "", ""},
		"oversized":                {"POST", "/webhooks/whatsapp", big, signed, 413, "too_large", "the body is larger than 65536 bytes", ""},
		"malformed":                {"POST", "/webhooks/whatsapp", "Body=%zz", signed, 400, "malformed", "the call cannot be read", ""},
		"a field is missing":       {"POST", "/webhooks/whatsapp", "Body=hi", signed, 400, "malformed", "the call cannot be read", ""},
		"empty":                    {"POST", "/webhooks/whatsapp", "", signed, 400, "malformed", "the call cannot be read", ""},
		"wrong content type":       {"POST", "/webhooks/whatsapp", "MessageSid=SM1", []string{"Content-Type", "text/plain", "X-Twilio-Signature", "good"}, 415, "unsupported", "this content type or encoding is not read here", ""},
		"compressed":               {"POST", "/webhooks/whatsapp", "MessageSid=SM1", append([]string{"Content-Encoding", "gzip"}, signed...), 415, "compressed", "compressed bodies are not read", ""},
		"wrong method":             {"PUT", "/webhooks/whatsapp", "MessageSid=SM1", signed, 405, "method", "this path takes POST only", "POST"},
		"GET of a webhook":         {"GET", "/webhooks/whatsapp", "", nil, 405, "method", "this path takes POST only", "POST"},
		"POST to a probe":          {"POST", "/livez", "x", nil, 405, "method", "this path takes GET, HEAD only", "GET, HEAD"},
		"unknown path":             {"GET", "/nothing", "", nil, 404, "not_found", "there is nothing at this path", ""},
		"unknown path with a body": {"POST", "/webhooks/whatsapp/", "MessageSid=SM1", signed, 404, "not_found", "there is nothing at this path", ""},
		"other case":               {"POST", "/Webhooks/WhatsApp", "MessageSid=SM1", signed, 404, "not_found", "there is nothing at this path", ""},
		"large headers":            {"POST", "/webhooks/whatsapp", "MessageSid=SM1", append([]string{"X-Long", strings.Repeat("h", headerLimit)}, signed...), 431, "headers_too_large", "the headers are larger than 16384 bytes", ""},
		"a panic":                  {"POST", "/webhooks/whatsapp", "MessageSid=panic", signed, 500, "panic", "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			resp, body := e.answerTo(t, e.request(t, c.method, c.path, c.body, c.headers...))
			require.Equal(t, c.status, resp.StatusCode, body)
			require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
			require.Equal(t, c.allow, resp.Header.Get("Allow"))
			var doc map[string]any
			require.NoError(t, json.Unmarshal([]byte(body), &doc))
			want := map[string]any{"type": "about:blank", "title": http.StatusText(c.status), "status": float64(c.status)}
			if c.detail != "" {
				want["detail"] = c.detail
			}
			require.Equal(t, want, doc)
			require.Empty(t, e.sink.messages)
			require.Empty(t, e.sink.receipts)
			require.Equal(t, 1.0, e.refusals(t, c.reason))

			// And the next one is read as if nothing had been.
			resp, _ = e.answerTo(t, e.request(t, "POST", "/webhooks/whatsapp", "MessageSid=SM2", signed...))
			require.Equal(t, 200, resp.StatusCode)
			for _, entry := range e.logs.All() {
				require.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), "+15550001111")
			}
		})
	}
}

// refusals reads the metric of a reason.
func (e *edge) refusals(t *testing.T, reason string) (n float64) {
	families, err := e.reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "fte_http_refused_total" && m.GetLabel()[0].GetValue() == reason {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestABodyWithoutLengthIsRefusedWhileItStreams(t *testing.T) {
	e := start(t)
	conn := e.dial(t)
	fmt.Fprintf(conn, "POST /webhooks/whatsapp HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: good\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk := strings.Repeat("x", 8<<10)
	for range 9 { // 72 KiB, and the body is not over
		fmt.Fprintf(conn, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	fmt.Fprint(conn, "0\r\n\r\n")
	require.Equal(t, 413, e.readStatus(t, conn))
	require.Empty(t, e.sink.messages)
}

func TestABodyThatEndsEarlyIsNotPublished(t *testing.T) {
	e := start(t)
	conn := e.dial(t)
	fmt.Fprintf(conn, "POST /webhooks/whatsapp HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: good\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nMessageSid=SM1")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.Equal(t, 400, e.readStatus(t, conn))
	require.Empty(t, e.sink.messages)
}

func TestASlowClientIsCutOff(t *testing.T) {
	for name, text := range map[string]string{
		"in the headers": "POST /webhooks/whatsapp HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"in the body":    "POST /webhooks/whatsapp HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			conn := e.dial(t)
			begin := time.Now()
			fmt.Fprint(conn, text)
			ended := make(chan struct{})
			defer func() { <-ended }()
			go func() { // a byte now and then, for as long as it is taken
				defer close(ended)
				for {
					if _, err := conn.Write([]byte("a")); err != nil || time.Since(begin) > 20*time.Second {
						return
					}
					time.Sleep(200 * time.Millisecond)
				}
			}()
			status := e.readStatus(t, conn)
			took := time.Since(begin)
			conn.Close()
			require.Equal(t, 408, status)
			require.Less(t, took, readTimeout+2*time.Second)
			require.Empty(t, e.sink.messages)
		})
	}
}

func (e *edge) dial(t *testing.T) net.Conn {
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (e *edge) readStatus(t *testing.T, conn net.Conn) int {
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestWithKafkaAwayTheVendorIsToldToComeAgain(t *testing.T) {
	e := start(t)
	e.sink.err = fmt.Errorf("publish: %w", support.ErrUnavailable)
	for _, path := range []string{"/webhooks/whatsapp", "/webhooks/whatsapp/status"} {
		resp, body := e.answerTo(t, e.request(t, "POST", path, "MessageSid=SM1", signed...))
		require.Equal(t, 503, resp.StatusCode)
		require.NotEmpty(t, resp.Header.Get("Retry-After"))
		require.Contains(t, body, "not accepted")
	}
	e.sink.err = support.ErrNotFound
	resp, _ := e.answerTo(t, e.request(t, "POST", "/webhooks/whatsapp/status", "MessageSid=SM1", signed...))
	require.Equal(t, 200, resp.StatusCode, "a receipt of nothing we know is fine")
}

func TestProbes(t *testing.T) {
	var mu sync.Mutex
	kafka, ready := Up, error(nil)
	check := func(context.Context) (Condition, string) { mu.Lock(); defer mu.Unlock(); return kafka, "detail" }
	e := start(t, func(c *Config) {
		c.Ready = func(context.Context) error { mu.Lock(); defer mu.Unlock(); return ready }
		c.Health = Checks{Channels: map[string]Check{"whatsapp": check}, Dependencies: map[string]Check{
			"kafka": check, "postgres": func(context.Context) (Condition, string) { return Up, "" }}}
	})
	get := func(path string) (int, string) {
		resp, body := e.answerTo(t, e.request(t, "GET", path, ""))
		return resp.StatusCode, body
	}
	require.Eventually(t, func() bool {
		e.health.mu.Lock()
		defer e.health.mu.Unlock()
		return !e.health.last.AsOf.IsZero()
	}, 10*time.Second, 5*time.Millisecond, "nobody has to ask for somebody to look")
	began := time.Now()
	status, _ := get("/livez")
	require.Equal(t, 200, status)
	status, _ = get("/readyz")
	require.Equal(t, 200, status)
	status, body := get("/metrics")
	require.Equal(t, 200, status)
	require.Contains(t, body, "fte_http_request_seconds")

	status, body = get("/health")
	require.Equal(t, 200, status)
	var first report
	require.NoError(t, json.Unmarshal([]byte(body), &first))
	require.Equal(t, Up, first.Status)
	require.Equal(t, Up, first.Channels["whatsapp"].Status)
	require.False(t, first.Channels["whatsapp"].Since.IsZero())
	require.True(t, first.Channels["whatsapp"].Since.Before(began), "since it is so, not since it was asked")

	mu.Lock()
	kafka, ready = Down, errors.New("no broker")
	mu.Unlock()
	status, _ = get("/readyz")
	require.Equal(t, 503, status)
	var second report
	require.Eventually(t, func() bool {
		status, body = get("/health")
		require.NoError(t, json.Unmarshal([]byte(body), &second))
		return second.Status == Down
	}, 10*time.Second, 50*time.Millisecond)
	require.Equal(t, 503, status, "no channel works")
	require.Equal(t, Up, second.Dependencies["postgres"].Status)
	require.Equal(t, first.Dependencies["postgres"].Since, second.Dependencies["postgres"].Since)
	require.True(t, second.Channels["whatsapp"].Since.After(first.Channels["whatsapp"].Since))
}

func TestMountedHandlersStreamAndAreBounded(t *testing.T) {
	gone := make(chan struct{})
	api := http.NewServeMux()
	api.HandleFunc("POST /api/v1/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Query", r.URL.RawQuery)
		w.WriteHeader(201)
		_, _ = io.Copy(w, r.Body)
	})
	api.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for n := 0; r.Context().Err() == nil; n++ {
			if _, err := fmt.Fprintf(w, "data: %d\n\n", n); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	api.HandleFunc("GET /api/v1/panic", func(http.ResponseWriter, *http.Request) { panic("secret") })
	e := start(t, func(c *Config) {
		c.Mounts = map[string]Mount{"/api/v1": {Handler: api, Limit: 1000, Streams: true},
			"/": {Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page "+r.URL.Path) })}}
	})

	resp, body := e.answerTo(t, e.request(t, "POST", "/api/v1/echo?x=1", "hello"))
	require.Equal(t, 201, resp.StatusCode)
	require.Equal(t, "hello", body)
	require.Equal(t, "x=1", resp.Header.Get("X-Query"))
	resp, _ = e.answerTo(t, e.request(t, "POST", "/api/v1/echo", strings.Repeat("x", 1001)))
	require.Equal(t, 413, resp.StatusCode)
	resp, _ = e.answerTo(t, e.request(t, "GET", "/api/v1/panic", ""))
	require.Equal(t, 500, resp.StatusCode)
	_, body = e.answerTo(t, e.request(t, "GET", "/some/page", ""))
	require.Equal(t, "page /some/page", body)
	resp, _ = e.answerTo(t, e.request(t, "GET", "/webhooks/whatsapp", ""))
	require.Equal(t, 405, resp.StatusCode, "a page for every path hides no route")

	resp, err := e.http.Do(e.request(t, "GET", "/api/v1/events", ""))
	require.NoError(t, err)
	lines := bufio.NewReader(resp.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "data: 0\n", line, "it comes before the answer is over")
	resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the handler was not told that its reader had gone")
	}
}

func TestShutdownLetsRequestsFinishAndDoesNotWaitForIdleConnections(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	e := start(t, func(c *Config) {
		c.Mounts = map[string]Mount{"/slow": {Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			_, _ = io.WriteString(w, "done")
		})}}
	})
	idle := e.dial(t) // says nothing
	type outcome struct {
		body string
		err  error
	}
	got := make(chan outcome, 1)
	go func() {
		resp, err := e.http.Get(e.url + "/slow")
		if err != nil {
			got <- outcome{err: err}
			return
		}
		var b bytes.Buffer
		_, err = b.ReadFrom(resp.Body)
		resp.Body.Close()
		got <- outcome{b.String(), err}
	}()
	<-entered
	stopped := make(chan struct{})
	begin := time.Now()
	go func() { e.stop(); close(stopped) }()
	require.Eventually(t, func() bool { // the listener is closed
		c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	}, 10*time.Second, 10*time.Millisecond)
	close(leave)
	o := <-got
	require.NoError(t, o.err)
	require.Equal(t, "done", o.body)
	<-stopped
	require.Less(t, time.Since(begin), 8*time.Second)
	_ = idle.Close()
}
