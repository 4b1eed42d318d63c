package gmailtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// discovery is the part of Gmail's discovery document that says what answers look
// like, EM-02.
type discovery struct {
	Schemas   map[string]schema   `json:"schemas"`
	Resources map[string]resource `json:"resources"`
}

type resource struct {
	Methods   map[string]method   `json:"methods"`
	Resources map[string]resource `json:"resources"`
}

type method struct {
	ID          string            `json:"id"`
	HTTPMethod  string            `json:"httpMethod"`
	Path        string            `json:"path"`
	Parameters  map[string]schema `json:"parameters"`
	Response    schema            `json:"response"`
	MediaUpload json.RawMessage   `json:"mediaUpload"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       string            `json:"type"`
	Format     string            `json:"format"`
	Enum       []string          `json:"enum"`
	Items      *schema           `json:"items"`
	Properties map[string]schema `json:"properties"`
}

var document = sync.OnceValues(func() (discovery, error) {
	var d discovery
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		return d, fmt.Errorf("find the module google.golang.org/api: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "gmail", "v1", "gmail-api.json"))
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(raw, &d)
})

func (r resource) each(visit func(method)) {
	for _, m := range r.Methods {
		visit(m)
	}
	for _, child := range r.Resources {
		child.each(visit)
	}
}

// method finds the method of a request.
func (d discovery) method(verb, path string) (found method, ok bool) {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "/"), "upload/")
	got := strings.Split(path, "/")
	score := -1
	for _, r := range d.Resources {
		r.each(func(m method) {
			want := strings.Split(m.Path, "/")
			if m.HTTPMethod != verb || len(want) != len(got) {
				return
			}
			literal := 0
			for i, w := range want {
				switch {
				case w == got[i]:
					literal++
				case !strings.HasPrefix(w, "{"):
					return
				}
			}
			if literal > score {
				found, ok, score = m, true, literal
			}
		})
	}
	return found, ok
}

// check says what in v is not as the schema has it.
func (d discovery) check(at string, s schema, v any) (wrong []string) {
	if s.Ref != "" {
		s = d.Schemas[s.Ref]
	}
	bad := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	switch s.Type {
	case "object":
		fields, ok := v.(map[string]any)
		if !ok {
			bad("%T is no object", v)
		}
		for name, value := range fields {
			if p, known := s.Properties[name]; known {
				wrong = append(wrong, d.check(at+"."+name, p, value)...)
			} else {
				bad("there is no field %s", name)
			}
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			bad("%T is no list", v)
		}
		for i, value := range list {
			wrong = append(wrong, d.check(at+"["+strconv.Itoa(i)+"]", *s.Items, value)...)
		}
	case "string":
		text, ok := v.(string)
		if !ok {
			bad("%T is no string", v)
		}
		var err error
		switch s.Format {
		case "uint64":
			_, err = strconv.ParseUint(text, 10, 64)
		case "int64":
			_, err = strconv.ParseInt(text, 10, 64)
		case "byte":
			_, err = base64.URLEncoding.DecodeString(text)
		}
		if err != nil {
			bad("%v", err)
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != float64(int64(n)) || s.Format == "uint32" && n < 0 {
			bad("%v is no %s", v, s.Format)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			bad("%T is no boolean", v)
		}
	default:
		bad("the schema's type %q is not known to this test", s.Type)
	}
	return wrong
}

// judged is a transport that fails the test at an answer or a parameter that the
// discovery document does not have.
type judged struct {
	t    *testing.T
	mu   sync.Mutex // guards seen
	seen map[string]int
}

// universal are the parameters of every method.
var universal = map[string]bool{"alt": true, "prettyPrint": true, "fields": true, "uploadType": true}

func (j *judged) RoundTrip(r *http.Request) (*http.Response, error) {
	d, err := document()
	require.NoError(j.t, err)
	m, ok := d.method(r.Method, r.URL.Path)
	require.True(j.t, ok, "%s %s is not in the discovery document", r.Method, r.URL.Path)
	for name := range r.URL.Query() {
		require.True(j.t, universal[name] || m.Parameters[name].Type != "", "%s has no parameter %s", m.ID, name)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil || resp.StatusCode/100 != 2 || resp.Header.Get("Content-Type") == "text/html" { // html: a fault
		return resp, err
	}
	j.mu.Lock()
	j.seen[m.ID]++
	j.mu.Unlock()
	if m.Response.Ref == "" || resp.StatusCode == http.StatusNoContent {
		require.Empty(j.t, body, m.ID)
		return resp, nil
	}
	var v any
	require.NoError(j.t, json.Unmarshal(body, &v), m.ID)
	require.Empty(j.t, d.check(m.ID, m.Response, v))
	return resp, nil
}

// Every path that is imitated is one of Gmail's.
func TestEveryMethodIsInTheDiscoveryDocument(t *testing.T) {
	d, err := document()
	require.NoError(t, err)
	for _, r := range api {
		m, ok := d.method(r.method, strings.NewReplacer("{userId}", "me").Replace(r.path))
		require.True(t, ok, "%s %s", r.method, r.path)
		require.Equal(t, r.path, m.Path)
		if uploads[r.path] && r.method == "POST" {
			require.NotEmpty(t, m.MediaUpload, r.path)
		}
	}
}

// The check itself sees unknown fields and wrong types.
func TestTheContractCanFail(t *testing.T) {
	d, err := document()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		body string
		fine bool
	}{
		"right":              {`{"id":"1","historyId":"7","sizeEstimate":3,"payload":{"body":{"size":1,"data":"YQ=="}}}`, true},
		"unknown field":      {`{"id":"1","thread":"1"}`, false},
		"number for uint64":  {`{"historyId":7}`, false},
		"text for int32":     {`{"sizeEstimate":"3"}`, false},
		"wrong alphabet":     {`{"raw":"+/+/"}`, false},
		"nested wrong field": {`{"payload":{"parts":[{"contentType":"text/plain"}]}}`, false},
	} {
		var v any
		require.NoError(t, json.Unmarshal([]byte(c.body), &v))
		wrong := d.check("Message", schema{Ref: "Message"}, v)
		require.Equal(t, c.fine, len(wrong) == 0, "%s: %v", name, wrong)
	}
}
