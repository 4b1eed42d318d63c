package gmailtest

import (
	"encoding/base64"
	"net/http"
	"slices"
	"time"
)

// listMessages implements messages.list: newest first.
func (s *Server) listMessages(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var list []messageJSON
	for _, id := range slices.Backward(s.box.order) {
		l, ok := s.letter(id)
		if !ok || q.Get("includeSpamTrash") != "true" && (l.has("SPAM") || l.has("TRASH")) {
			continue
		}
		if !slices.ContainsFunc(q["labelIds"], func(label string) bool { return !l.has(label) }) && l.matches(q.Get("q"), now) {
			list = append(list, l.short())
		}
	}
	page, next := paged(list, r, 500)
	out := map[string]any{"resultSizeEstimate": len(list)}
	if len(page) > 0 {
		out["messages"] = page
	}
	if next != "" {
		out["nextPageToken"] = next
	}
	answer(w, out)
}

func (s *Server) getMessage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.letter(r.PathValue("id"))
	if !ok {
		fail(w, notFound)
		return
	}
	s.show(w, r, l)
}

// show answers a mail in the format that was asked for.
func (s *Server) show(w http.ResponseWriter, r *http.Request, l *letter) {
	m, ok := l.resource(r.URL.Query().Get("format"), r.URL.Query()["metadataHeaders"])
	if !ok {
		fail(w, invalid("Invalid value at 'format'"))
		return
	}
	answer(w, m)
}

// deleteMessage implements messages.delete: for good.
func (s *Server) deleteMessage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.letter(r.PathValue("id"))
	if !ok {
		fail(w, notFound)
		return
	}
	s.commit(record{Changes: []change{{ID: s.next(0), Kind: "messageDeleted", Mail: l.ID, Labels: l.Labels}}})
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) modifyMessage(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Add    []string `json:"addLabelIds"`
		Remove []string `json:"removeLabelIds"`
	}
	if decodeJSON(w, r, &in) {
		s.relabel(w, r.PathValue("id"), in.Add, in.Remove)
	}
}

func (s *Server) trashMessage(w http.ResponseWriter, r *http.Request) {
	s.relabel(w, r.PathValue("id"), []string{"TRASH"}, []string{"INBOX"})
}

// relabel changes a mail's labels: our own changes are notified of, too.
func (s *Server) relabel(w http.ResponseWriter, id string, add, remove []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.letter(id)
	if !ok {
		fail(w, notFound)
		return
	}
	for _, label := range slices.Concat(add, remove) {
		if !slices.Contains(systemLabels, label) {
			fail(w, unknownLabel)
			return
		}
	}
	before := l.Labels
	came := slices.DeleteFunc(slices.Clone(add), l.has)
	went := slices.DeleteFunc(slices.Clone(remove), func(label string) bool { return !l.has(label) })
	after := slices.DeleteFunc(slices.Concat(before, came), func(label string) bool { return slices.Contains(went, label) })
	var changes []change
	at := uint64(0)
	for kind, delta := range map[string][]string{"labelAdded": came, "labelRemoved": went} {
		if len(delta) > 0 {
			at = s.next(at)
			changes = append(changes, change{ID: at, Kind: kind, Mail: id, Labels: after, Delta: delta})
		}
	}
	if len(changes) > 0 {
		s.commit(record{Changes: changes})
		s.work.Go(func() { s.notify(at, slices.Concat(before, after)) })
	}
	answer(w, messageJSON{ID: l.ID, ThreadID: l.ThreadID, LabelIDs: l.Labels})
}

func (s *Server) getAttachment(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.letter(r.PathValue("messageId"))
	if !ok {
		fail(w, notFound)
		return
	}
	id, ok := attachmentPart(l.ID, r.PathValue("id"))
	if p := parseMail(l.Raw).find(id); ok && p != nil {
		answer(w, bodyJSON{Size: len(p.body), Data: base64.URLEncoding.EncodeToString(p.body)})
		return
	}
	fail(w, invalid("Invalid attachment token"))
}

func (s *Server) getThread(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mails := s.thread(r.PathValue("id"))
	if len(mails) == 0 {
		fail(w, notFound)
		return
	}
	format := r.URL.Query().Get("format")
	if format == "raw" {
		fail(w, invalid("Format raw is not supported for threads"))
		return
	}
	var list []messageJSON
	top := uint64(0)
	for _, l := range mails {
		m, ok := l.resource(format, r.URL.Query()["metadataHeaders"])
		if !ok {
			fail(w, invalid("Invalid value at 'format'"))
			return
		}
		list, top = append(list, m), max(top, l.History)
	}
	answer(w, threadJSON{ID: mails[0].ThreadID, HistoryID: text(top), Messages: list})
}
