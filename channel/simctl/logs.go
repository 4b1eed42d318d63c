package simctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Sent is a message that a vendor accepted for delivery.
type Sent struct {
	N          int64     `json:"n"` // from 1, in the order of acceptance
	Channel    string    `json:"channel"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Body       string    `json:"body"`
	Text       string    `json:"text"` // the whole visible text
	Key        string    `json:"key"`  // of the X-FTE-Key header or the callback's query
	ProviderID string    `json:"provider_id"`
	InReplyTo  string    `json:"in_reply_to"`
	References string    `json:"references"`
	ThreadID   string    `json:"thread_id"`
	At         time.Time `json:"at"`
}

// SentLog is the append-only log of what vendors accepted. Each entry is on disk
// before Append returns. It is safe for concurrent use.
type SentLog struct {
	mu     sync.Mutex // guards all below
	file   *Journal
	list   []Sent
	next   int64
	marker string
}

func openSent(dir string) (*SentLog, error) {
	l := &SentLog{next: 1, marker: filepath.Join(dir, "sent.from")}
	var err error
	l.file, err = OpenJournal(filepath.Join(dir, "sent.jsonl"), func(line []byte) error {
		var s Sent
		if err := json.Unmarshal(line, &s); err != nil {
			return err
		}
		l.list, l.next = append(l.list, s), s.N+1
		return nil
	})
	if err != nil {
		return nil, err
	}
	if text, err := os.ReadFile(l.marker); err == nil {
		from, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		if err != nil {
			l.file.Close()
			return nil, fmt.Errorf("read %s: %w", l.marker, err)
		}
		l.list = newer(l.list, from-1)
	}
	return l, nil
}

// Append numbers and dates the message, writes it to disk and returns it.
func (l *SentLog) Append(s Sent) (Sent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.N, s.At = l.next, time.Now().UTC()
	if err := l.file.Append(s); err != nil {
		return Sent{}, err
	}
	if err := l.file.Sync(); err != nil {
		return Sent{}, err
	}
	l.next++
	l.list = append(l.list, s)
	return s, nil
}

// List returns the messages of a channel and recipient (empty: all) with a
// number above after.
func (l *SentLog) List(channel, to string, after int64) []Sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []Sent{}
	for _, s := range newer(l.list, after) {
		if (channel == "" || s.Channel == channel) && (to == "" || s.To == to) {
			list = append(list, s)
		}
	}
	return list
}

// Close closes the file.
func (l *SentLog) Close() error { return l.file.Close() }

// forget empties the list; the file keeps everything and the numbers go on.
func (l *SentLog) forget() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
	return os.WriteFile(l.marker, []byte(strconv.FormatInt(l.next, 10)), 0o600)
}

// newer cuts a list in order of N behind after.
func newer(list []Sent, after int64) []Sent {
	for i, s := range list {
		if s.N > after {
			return list[i:]
		}
	}
	return nil
}

// Inbound is one injection of a message.
type Inbound struct {
	N            int64     `json:"n"` // from 1, in the order of injection
	Channel      string    `json:"channel"`
	ExternalID   string    `json:"external_id"` // as messages.external_id has it
	From         string    `json:"from"`
	At           time.Time `json:"at"`
	Status       int       `json:"status"`        // of the last try; 0: no answer, or none yet
	RedeliveryOf int64     `json:"redelivery_of"` // N of the first injection of this message; 0: this is it
}

// InboundLog is the log of what was put into the vendors. It is safe for
// concurrent use.
type InboundLog struct {
	mu   sync.Mutex // guards all below
	file *Journal
	list []Inbound
	seen map[string]int64 // channel and external id to first N
}

func openInbound(dir string) (*InboundLog, error) {
	l := &InboundLog{seen: map[string]int64{}}
	var err error
	l.file, err = OpenJournal(filepath.Join(dir, "inbound.jsonl"), func(line []byte) error {
		var in Inbound
		if err := json.Unmarshal(line, &in); err != nil {
			return err
		}
		if in.N <= int64(len(l.list)) { // a later line of the same number carries its status
			l.list[in.N-1] = in
			return nil
		}
		l.list = append(l.list, in)
		if in.RedeliveryOf == 0 {
			l.seen[in.Channel+"/"+in.ExternalID] = in.N
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Add records an injection and returns it numbered. A message that was put in
// before is a redelivery.
func (l *InboundLog) Add(channel, externalID, from string) (Inbound, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := channel + "/" + externalID
	in := Inbound{N: int64(len(l.list)) + 1, Channel: channel, ExternalID: externalID, From: from, At: time.Now().UTC(), RedeliveryOf: l.seen[id]}
	if err := l.file.Append(in); err != nil {
		return Inbound{}, err
	}
	if in.RedeliveryOf == 0 {
		l.seen[id] = in.N
	}
	l.list = append(l.list, in)
	return in, nil
}

// Done records the status of the last try of injection n.
func (l *InboundLog) Done(n int64, status int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < 1 || n > int64(len(l.list)) {
		return nil // forgotten meanwhile
	}
	l.list[n-1].Status = status
	return l.file.Append(l.list[n-1])
}

// List returns every injection in order.
func (l *InboundLog) List() []Inbound {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Inbound{}, l.list...)
}

func (l *InboundLog) forget() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list, l.seen = nil, map[string]int64{}
	return l.file.Truncate()
}

func (l *InboundLog) close() { l.file.Close() }
