package twiliotest

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// message is a Message resource and what the simulator remembers besides.
type message struct {
	Sid       string
	Direction string // inbound or outbound-api
	From, To  string
	Body      string
	Status    string
	ErrorCode int
	Created   time.Time
	Updated   time.Time
	Callback  string     // StatusCallback
	Form      url.Values // inbound: the webhook's fields
	Media     []media
	Gone      bool // deleted
}

type media struct{ Sid, Type string }

// resource is what the API shows of the message.
func (m *message) resource(account string) map[string]any {
	var code any
	if m.ErrorCode != 0 {
		code = m.ErrorCode
	}
	uri := "/2010-04-01/Accounts/" + account + "/Messages/" + m.Sid
	return map[string]any{
		"sid": m.Sid, "account_sid": account, "api_version": "2010-04-01", "direction": m.Direction, "from": m.From, "to": m.To, "body": m.Body,
		"status": m.Status, "error_code": code, "error_message": nil, "messaging_service_sid": nil, "num_media": strconv.Itoa(len(m.Media)), "num_segments": "1",
		"price": nil, "price_unit": "USD", "date_created": m.Created.Format(time.RFC1123Z), "date_sent": m.Created.Format(time.RFC1123Z),
		"date_updated": m.Updated.Format(time.RFC1123Z), "uri": uri + ".json",
		"subresource_uris": map[string]any{"media": uri + "/Media.json"},
	}
}

// replay is called for each line of the journal; a later line of a sid wins.
func (s *Server) replay(line []byte) error {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return err
	}
	if s.byID[m.Sid] == nil {
		s.sids = append(s.sids, m.Sid)
	}
	s.byID[m.Sid] = &m
	return nil
}

// adoptSent makes a message of each entry of sent.jsonl that the journal lacks:
// the process was killed between the two. What was accepted can be looked up.
func (s *Server) adoptSent() {
	for _, e := range s.ctl.Sent.List("whatsapp", "", 0) {
		if s.byID[e.ProviderID] == nil {
			s.keep(&message{Sid: e.ProviderID, Direction: "outbound-api", From: e.From, To: e.To, Body: e.Body, Status: "sent", Created: e.At, Updated: e.At})
		}
	}
}

// keep stores a new or changed message. The caller holds mu, or nobody else has
// the server yet.
func (s *Server) keep(m *message) {
	if s.byID[m.Sid] == nil {
		s.sids = append(s.sids, m.Sid)
	}
	s.byID[m.Sid] = m
	if err := s.journal.Append(m); err != nil {
		s.log.Error("message not kept over a restart", zap.String("message_sid", m.Sid), zap.Error(err))
	}
}

// find returns a copy of a message that was not deleted.
func (s *Server) find(sid string) (message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byID[sid]
	if m == nil || m.Gone {
		return message{}, false
	}
	return *m, true
}

// forget empties the vendor. Callbacks under way find nothing.
func (s *Server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sids, s.byID, s.refused = nil, map[string]*message{}, map[string]Refusal{}
	s.opts = s.cfg.Options
	if err := s.journal.Truncate(); err != nil {
		s.log.Error("journal not emptied", zap.Error(err))
	}
}
