package webform

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"fte/support"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// problem is a refusal, RFC 9457. Detail is what the sender reads.
type problem struct {
	status int
	detail string
	errors []fieldError
	retry  time.Duration // when to try again; 0: nothing is said
}

// fieldError says what is wrong with one field of the form.
type fieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error implements error.
func (p problem) Error() string { return http.StatusText(p.status) + ": " + p.detail }

// away is what every dependency that is away comes to.
var away = problem{status: http.StatusServiceUnavailable, detail: "not now, please try again", retry: 5 * time.Second}

// noTicket answers a wrong token and an unknown ticket alike, so that neither is
// told from the other.
var noTicket = problem{status: http.StatusNotFound, detail: "there is no such ticket for this token"}

// judge turns errors into refusals. An error nobody thought of is ours.
func judge(err error) problem {
	var p problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, support.ErrUnavailable), errors.Is(err, support.ErrRetry), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return away
	case errors.Is(err, support.ErrTooLarge):
		return problem{status: http.StatusRequestEntityTooLarge, detail: "this is larger than is taken"}
	default:
		return problem{status: http.StatusInternalServerError, detail: "the request failed"}
	}
}

// refuse writes the problem document of an error.
func (f *form) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := judge(err)
	if p.status >= 500 {
		log := f.Log.Warn
		if p.status == http.StatusInternalServerError {
			log = f.Log.Error
		}
		log("request refused", zap.String("channel", string(support.WebForm)), zap.Int("status", p.status), zap.Error(err))
	}
	f.metrics.refused.WithLabelValues(strconv.Itoa(p.status)).Inc()
	if p.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(struct { // whoever is gone does not read it
		Type   string       `json:"type"`
		Title  string       `json:"title"`
		Status int          `json:"status"`
		Detail string       `json:"detail"`
		Errors []fieldError `json:"errors,omitempty"`
	}{"about:blank", http.StatusText(p.status), p.status, p.detail, p.errors})
}

// answer writes a document.
func answer(w http.ResponseWriter, status int, doc any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
	return nil
}

type metrics struct {
	submitted *prometheus.CounterVec
	refused   *prometheus.CounterVec
	streams   prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		submitted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_webform_submitted_total",
			Help: "Forms answered with 200: accepted by Kafka, or trapped (sent by a robot and not kept)."}, []string{"result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_webform_refused_total",
			Help: "Requests about forms and their tickets that were refused, by status."}, []string{"status"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fte_webform_streams", Help: "Pages that follow their ticket now."}),
	}
	if r != nil {
		r.MustRegister(m.submitted, m.refused, m.streams)
	}
	return m
}
