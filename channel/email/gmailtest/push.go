package gmailtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// What Pub/Sub does, GM-03: how long an answer may take, and how long it waits
// before it tries again.
const (
	ackDeadline = 30 * time.Second
	leastWait   = 10 * time.Second
	longestWait = 600 * time.Second
	heldFor     = 2 * time.Second // a push that waits to be overtaken
)

// acks are the statuses that acknowledge a push.
var acks = []int{102, 200, 201, 202, 204}

// knobs are how the subscription misbehaves, POST /_ctl/gmail/push.
type knobs struct {
	Drop      bool `json:"drop"`      // no push is made
	Duplicate bool `json:"duplicate"` // each is made twice
	Reorder   bool `json:"reorder"`   // each second one overtakes the one before
}

// pusher is the subscription's state.
type pusher struct {
	mu    sync.Mutex // guards all below
	knobs knobs
	last  time.Time // when the last notification was sent
	held  *push     // the push that waits to be overtaken
}

func (p *pusher) set(k knobs) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.knobs = k
}

func (p *pusher) now() knobs {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.knobs
}

// limited drops what comes within a second of the last notification, GM-04.
func (p *pusher) limited(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.last) < time.Second {
		return true
	}
	p.last = now
	return false
}

// swap holds a push back, or returns the one that was held.
func (p *pusher) swap(next *push) *push {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.held
	if p.held = next; before != nil {
		p.held = nil
	}
	return before
}

// push is one message of the subscription.
type push struct {
	id   string
	body []byte
}

// notify tells the subscription that the mailbox has come to a place by a change
// of a mail with these labels, and returns the status of the first try: 0 without
// an answer, or where nothing was sent.
func (s *Server) notify(history uint64, labels []string) int {
	s.mu.Lock()
	watched := time.Now().Before(s.box.Watch) && (len(s.box.Labels) == 0 || slices.ContainsFunc(labels, func(l string) bool { return slices.Contains(s.box.Labels, l) }))
	s.mu.Unlock()
	if !watched || s.pusher.limited(time.Now()) {
		return 0
	}
	return s.publish(history)
}

// publish makes the push of a notification, as the knobs say.
func (s *Server) publish(history uint64) int {
	k := s.pusher.now()
	if k.Drop {
		return 0
	}
	p := s.message(history)
	if k.Duplicate {
		defer s.work.Go(func() {
			if s.pause(300 * time.Millisecond) {
				s.deliver(p)
			}
		})
	}
	if !k.Reorder {
		return s.deliver(p)
	}
	before := s.pusher.swap(p)
	if before == nil {
		s.work.Go(func() {
			if s.pause(heldFor) && s.pusher.release(p) {
				s.deliver(p)
			}
		})
		return 0
	}
	status := s.deliver(p)
	s.deliver(before)
	return status
}

// release says whether a push is still held, and lets it go.
func (p *pusher) release(held *push) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != held {
		return false
	}
	p.held = nil
	return true
}

// message is the body of a push, GM-01.
func (s *Server) message(history uint64) *push {
	data, _ := json.Marshal(map[string]any{"emailAddress": s.cfg.Mailbox, "historyId": history})
	id := strconv.FormatInt(time.Now().UnixNano(), 10)
	at := time.Now().UTC().Format(time.RFC3339Nano)
	body, _ := json.Marshal(map[string]any{"subscription": s.cfg.Subscription, "message": map[string]any{
		"data": base64.StdEncoding.EncodeToString(data), "messageId": id, "message_id": id, "publishTime": at, "publish_time": at}})
	return &push{id, body}
}

// deliver makes a push, and goes on in the background until it is acknowledged.
// It returns the status of the first try.
func (s *Server) deliver(p *push) int {
	status := s.post(p, zap.DebugLevel) // an edge that just starts gets the next try
	if !slices.Contains(acks, status) {
		s.work.Go(func() {
			for wait := leastWait; s.pause(wait); wait = min(2*wait, longestWait) {
				if s.pusher.now().Drop || slices.Contains(acks, s.post(p, zap.WarnLevel)) {
					return
				}
			}
		})
	}
	return status
}

// post makes one request, and returns its status: 0 without an answer, which is
// logged at a level.
func (s *Server) post(p *push, level zapcore.Level) int {
	s.mu.Lock()
	target := s.cfg.PushURL
	s.mu.Unlock()
	if target == "" {
		return 0
	}
	within := max(time.Duration(float64(ackDeadline)*s.cfg.TimeScale), 2*time.Second)
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	token, err := s.keys.sign(s.cfg.Audience, s.cfg.PushEmail, time.Now())
	if err != nil {
		s.log.Error("push not signed", zap.Error(err))
		return 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(p.body))
	if err != nil {
		s.log.Error("push not made", zap.Error(err))
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", "CloudPubSub-Google")
	resp, err := s.hooks.Do(req)
	if err != nil {
		s.log.Log(level, "push failed", zap.String("pubsub_id", p.id), zap.Error(err))
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
