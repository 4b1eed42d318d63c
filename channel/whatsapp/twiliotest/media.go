package twiliotest

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"fte/channel/simctl"
)

// pixel is what every attachment contains: a PNG of one pixel.
var pixel, _ = base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")

// mediaList implements GET Messages/{sid}/Media.json.
func (s *Server) mediaList(w http.ResponseWriter, r *http.Request) {
	m, ok := s.find(r.PathValue("sid"))
	if !ok {
		fail(w, 404, 20404, "The requested resource "+r.URL.Path+" was not found")
		return
	}
	list := []map[string]any{}
	for _, att := range m.Media {
		list = append(list, s.mediaResource(m, att))
	}
	simctl.WriteJSON(w, http.StatusOK, map[string]any{"media_list": list, "page": 0, "page_size": 50, "start": 0, "end": max(len(list)-1, 0),
		"uri": r.URL.RequestURI(), "first_page_uri": r.URL.RequestURI(), "next_page_uri": nil, "previous_page_uri": nil})
}

// media implements GET Messages/{sid}/Media/{media}[.json]: the content by a
// redirect that needs no authentication.
func (s *Server) media(w http.ResponseWriter, r *http.Request) {
	sid, described := strings.CutSuffix(r.PathValue("media"), ".json")
	m, _ := s.find(r.PathValue("sid"))
	for _, att := range m.Media {
		switch {
		case att.Sid != sid:
		case described:
			simctl.WriteJSON(w, http.StatusOK, s.mediaResource(m, att))
			return
		default:
			http.Redirect(w, r, "/_media/"+sid, http.StatusTemporaryRedirect)
			return
		}
	}
	fail(w, 404, 20404, "The requested resource "+r.URL.Path+" was not found")
}

func (s *Server) mediaResource(m message, att media) map[string]any {
	at := m.Created.Format(time.RFC1123Z)
	return map[string]any{"sid": att.Sid, "account_sid": s.cfg.AccountSID, "parent_sid": m.Sid, "content_type": att.Type, "date_created": at, "date_updated": at,
		"uri": "/2010-04-01/Accounts/" + s.cfg.AccountSID + "/Messages/" + m.Sid + "/Media/" + att.Sid + ".json"}
}

// mediaContent is the storage behind the redirect.
func (s *Server) mediaContent(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "credentials do not belong here", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(pixel)
}
