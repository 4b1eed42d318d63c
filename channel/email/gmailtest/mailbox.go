package gmailtest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"fte/channel/simctl"
)

// watchLasts is how long a watch lasts, GM-05.
const watchLasts = 7 * 24 * time.Hour

// systemLabels are there in every mailbox.
var systemLabels = []string{"INBOX", "SENT", "DRAFT", "SPAM", "TRASH", "UNREAD", "STARRED", "IMPORTANT", "CHAT",
	"CATEGORY_PERSONAL", "CATEGORY_SOCIAL", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES", "CATEGORY_FORUMS"}

func answer(w http.ResponseWriter, v any) { simctl.WriteJSON(w, http.StatusOK, v) }

func decodeJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<20)).Decode(v); err != nil {
		fail(w, invalid("Invalid JSON payload received. "+err.Error()))
		return false
	}
	return true
}

func (s *Server) profile(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	threads, mails := map[string]bool{}, 0
	for _, id := range s.box.order {
		if l, ok := s.letter(id); ok {
			mails++
			threads[l.ThreadID] = true
		}
	}
	answer(w, map[string]any{"emailAddress": s.cfg.Mailbox, "historyId": strconv.FormatUint(s.box.History, 10), "messagesTotal": mails, "threadsTotal": len(threads)})
}

var topic = regexp.MustCompile(`^projects/[^/]+/topics/[^/]+$`)

// watch implements users.watch: a notification follows at once.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	var in struct {
		TopicName           string   `json:"topicName"`
		LabelIDs            []string `json:"labelIds"`
		LabelFilterBehavior string   `json:"labelFilterBehavior"`
		LabelFilterAction   string   `json:"labelFilterAction"`
	}
	if !decodeJSON(w, r, &in) {
		return
	}
	if !topic.MatchString(in.TopicName) {
		fail(w, invalid("Invalid topicName does not match projects/<project>/topics/*"))
		return
	}
	if strings.EqualFold(in.LabelFilterBehavior+in.LabelFilterAction, "exclude") {
		in.LabelIDs = slices.DeleteFunc(slices.Clone(systemLabels), func(l string) bool { return slices.Contains(in.LabelIDs, l) })
	}
	s.mu.Lock()
	next := s.box.state
	next.Watch, next.Labels = time.Now().UTC().Add(watchLasts), in.LabelIDs
	s.commit(record{State: &next})
	s.mu.Unlock()
	s.work.Go(func() { s.notify(next.History, in.LabelIDs) })
	answer(w, map[string]any{"historyId": strconv.FormatUint(next.History, 10), "expiration": strconv.FormatInt(next.Watch.UnixMilli(), 10)})
}

// unwatch implements users.stop.
func (s *Server) unwatch(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.box.state
	next.Watch, next.Labels = time.Time{}, nil
	s.commit(record{State: &next})
	w.WriteHeader(http.StatusNoContent)
}

// historyJSON is a History of the API.
type historyJSON struct {
	ID              string        `json:"id"`
	Messages        []messageJSON `json:"messages"`
	MessagesAdded   []entryJSON   `json:"messagesAdded,omitempty"`
	MessagesDeleted []entryJSON   `json:"messagesDeleted,omitempty"`
	LabelsAdded     []entryJSON   `json:"labelsAdded,omitempty"`
	LabelsRemoved   []entryJSON   `json:"labelsRemoved,omitempty"`
}

type entryJSON struct {
	Message  messageJSON `json:"message"`
	LabelIDs []string    `json:"labelIds,omitempty"`
}

// history implements history.list, GM-06.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	since, err := strconv.ParseUint(q.Get("startHistoryId"), 10, 64)
	if err != nil {
		fail(w, invalid("Missing or invalid startHistoryId"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if since < s.box.Oldest || since > s.box.History {
		s.gaps++
		fail(w, notFound)
		return
	}
	fits := func(c change) bool {
		return c.ID > since && (len(q["historyTypes"]) == 0 || slices.Contains(q["historyTypes"], c.Kind)) &&
			(q.Get("labelId") == "" || slices.Contains(c.Labels, q.Get("labelId")))
	}
	var list []change
	for _, c := range s.box.changes {
		if fits(c) {
			list = append(list, c)
		}
	}
	page, next := paged(list, r, 500)
	out := map[string]any{"historyId": strconv.FormatUint(s.box.History, 10)}
	if next != "" {
		out["nextPageToken"] = next
	}
	var entries []historyJSON
	for _, c := range page {
		entries = append(entries, s.entry(c))
	}
	if len(entries) > 0 {
		out["history"] = entries
	}
	answer(w, out)
}

// entry is a change as the API shows it. The caller holds mu.
func (s *Server) entry(c change) historyJSON {
	l := s.box.mails[c.Mail]
	h := historyJSON{ID: strconv.FormatUint(c.ID, 10), Messages: []messageJSON{l.short()}}
	e := []entryJSON{{Message: l.labelled(c.Labels), LabelIDs: c.Delta}}
	switch c.Kind {
	case "messageAdded":
		h.MessagesAdded = e
	case "messageDeleted":
		h.MessagesDeleted = e
	case "labelAdded":
		h.LabelsAdded = e
	case "labelRemoved":
		h.LabelsRemoved = e
	}
	return h
}

func (s *Server) labels(w http.ResponseWriter, _ *http.Request) {
	list := []map[string]any{}
	for _, l := range systemLabels {
		list = append(list, map[string]any{"id": l, "name": l, "type": "system"})
	}
	answer(w, map[string]any{"labels": list})
}

// paged cuts a list as maxResults (100 unless told) and pageToken say.
func paged[T any](list []T, r *http.Request, most int) (page []T, next string) {
	size, err := strconv.Atoi(r.URL.Query().Get("maxResults"))
	if err != nil || size < 1 {
		size = 100
	}
	size = min(size, most)
	from, _ := strconv.Atoi(r.URL.Query().Get("pageToken"))
	from = min(max(from, 0), len(list))
	if from+size < len(list) {
		return list[from : from+size], strconv.Itoa(from + size)
	}
	return list[from:], ""
}
