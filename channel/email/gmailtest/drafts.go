package gmailtest

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

type threadJSON struct {
	ID        string        `json:"id"`
	HistoryID string        `json:"historyId"`
	Messages  []messageJSON `json:"messages"`
}

type draftJSON struct {
	ID      string      `json:"id"`
	Message messageJSON `json:"message"`
}

func text(n uint64) string { return strconv.FormatUint(n, 10) }

// createDraft implements drafts.create.
func (s *Server) createDraft(w http.ResponseWriter, r *http.Request) {
	in, ok := readMail(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	thread, ok := s.place(in)
	if !ok {
		fail(w, notFound)
		return
	}
	l := &letter{ID: newID(), ThreadID: thread, Labels: []string{"DRAFT"}, At: time.Now().UTC(), Raw: in.raw}
	l.ThreadID = cmp.Or(thread, l.ID)
	d := &draft{ID: "r" + strconv.FormatUint(s.dice.Uint64()>>1, 10), Mail: l.ID}
	s.commit(record{Mail: l, Draft: d, Changes: []change{s.added(l, 0)}})
	answer(w, draftJSON{d.ID, l.labelled(l.Labels)})
}

// place says in which thread a mail goes: empty for one of its own. It is false
// for a thread that is not there. As Gmail's guide on threads asks, a mail that
// names a thread without answering one of its mails under its subject gets one of
// its own. The caller holds mu.
func (s *Server) place(in input) (string, bool) {
	found := s.threadOf(summarize(in.raw))
	if in.threadID == "" {
		return found, true
	}
	if len(s.thread(in.threadID)) == 0 {
		return "", false
	}
	if found == in.threadID {
		return found, true
	}
	return "", true
}

func (s *Server) getDraft(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.letter(s.box.drafts[r.PathValue("id")])
	if !ok {
		fail(w, notFound)
		return
	}
	m, ok := l.resource(r.URL.Query().Get("format"), nil)
	if !ok {
		fail(w, invalid("Invalid value at 'format'"))
		return
	}
	answer(w, draftJSON{r.PathValue("id"), m})
}

// listDrafts implements drafts.list: newest first.
func (s *Server) listDrafts(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []draftJSON{}
	at := map[string]time.Time{}
	for id, mail := range maps.All(s.box.drafts) {
		if l, ok := s.letter(mail); ok && l.matches(r.URL.Query().Get("q"), time.Now()) {
			list = append(list, draftJSON{id, l.short()})
			at[id] = l.At
		}
	}
	slices.SortFunc(list, func(a, b draftJSON) int { return cmp.Or(at[b.ID].Compare(at[a.ID]), cmp.Compare(a.ID, b.ID)) })
	page, next := paged(list, r, 500)
	out := map[string]any{"resultSizeEstimate": len(list)}
	if len(page) > 0 {
		out["drafts"] = page
	}
	if next != "" {
		out["nextPageToken"] = next
	}
	answer(w, out)
}

func (s *Server) deleteDraft(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.letter(s.box.drafts[r.PathValue("id")])
	if !ok {
		fail(w, notFound)
		return
	}
	s.commit(record{Draft: &draft{ID: r.PathValue("id"), Gone: true}, Changes: []change{{ID: s.next(0), Kind: "messageDeleted", Mail: l.ID, Labels: l.Labels}}})
	w.WriteHeader(http.StatusNoContent)
}

// sendDraft implements drafts.send: the draft is gone, and the mail that it was
// has another id.
func (s *Server) sendDraft(w http.ResponseWriter, r *http.Request) {
	in, ok := readMail(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.letter(s.box.drafts[in.draftID])
	if !ok {
		fail(w, notFound)
		return
	}
	raw, thread := l.Raw, l.ThreadID
	if in.raw != nil { // the draft's content is replaced first
		raw = in.raw
	}
	if thread == l.ID {
		thread = ""
	}
	s.send(w, raw, thread, record{Draft: &draft{ID: in.draftID, Gone: true}, Changes: []change{{ID: s.next(0), Kind: "messageDeleted", Mail: l.ID, Labels: l.Labels}}})
}

// sendMessage implements messages.send.
func (s *Server) sendMessage(w http.ResponseWriter, r *http.Request) {
	in, ok := readMail(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	thread, ok := s.place(in)
	if !ok {
		fail(w, notFound)
		return
	}
	s.send(w, in.raw, thread, record{})
}
