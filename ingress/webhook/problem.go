package webhook

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"fte/support"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// problem is a refusal. Reason is the metric's label; detail is what the sender
// reads: what was wrong, and no more.
type problem struct {
	status int
	reason string
	detail string
}

// Error implements error.
func (p problem) Error() string { return p.reason + ": " + p.detail }

// document is RFC 9457's.
type document struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// refusals is the one table that turns errors into answers.
var refusals = []struct {
	err error
	problem
}{
	{support.ErrUnauthentic, problem{http.StatusForbidden, "unauthentic", ""}},
	{support.ErrTooLarge, problem{http.StatusRequestEntityTooLarge, "too_large", "the call is larger than is taken"}},
	{support.ErrUnsupported, problem{http.StatusUnsupportedMediaType, "unsupported", "this content type or encoding is not read here"}},
	{support.ErrMalformed, problem{http.StatusBadRequest, "malformed", "the call cannot be read"}},
	{support.ErrUnavailable, problem{http.StatusServiceUnavailable, "unavailable", "not now, try again"}},
}

// judge finds the answer to an error. An error nobody thought of is ours.
func judge(err error) problem {
	var p problem
	if errors.As(err, &p) {
		return p
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.problem
		}
	}
	var f *fiber.Error
	if !errors.As(err, &f) {
		return problem{http.StatusInternalServerError, "internal", ""}
	}
	switch f.Code { // what the server found before any route
	case http.StatusRequestHeaderFieldsTooLarge:
		return problem{f.Code, "headers_too_large", "the headers are larger than " + strconv.Itoa(headerLimit) + " bytes"}
	case http.StatusRequestTimeout:
		return problem{f.Code, "timeout", "the request did not come in time"}
	case http.StatusRequestEntityTooLarge:
		return problem{f.Code, "too_large", "the body is too large"}
	case http.StatusNotFound:
		return problem{f.Code, "not_found", "there is nothing at this path"}
	default:
		return problem{http.StatusBadRequest, "not_http", "the request cannot be read"}
	}
}

// refuse writes the problem document of an error.
func (s *Server) refuse(c *fiber.Ctx, err error) error {
	p := judge(err)
	s.metrics.refused.WithLabelValues(p.reason).Inc()
	body, err := json.Marshal(document{"about:blank", http.StatusText(p.status), p.status, p.detail})
	if err != nil {
		return err
	}
	if p.status == http.StatusServiceUnavailable {
		c.Set(fiber.HeaderRetryAfter, "5")
	}
	c.Status(p.status)
	c.Set(fiber.HeaderContentType, "application/problem+json")
	return c.Send(body)
}

type metrics struct {
	requests *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	accepted *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "fte_http_request_seconds",
			Help: "Time until the answer began, by route and status.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}, []string{"route", "status"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_http_refused_total",
			Help: "Requests refused, by reason."}, []string{"reason"}),
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_accepted_total",
			Help: "Messages that Kafka acknowledged before their sender got its 200."}, []string{"channel"}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.refused, m.accepted)
	}
	return m
}

func (m *metrics) observe(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}
