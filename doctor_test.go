package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/ingress/kafka/kafkatest"
	"fte/persistence"
	"fte/persistence/persistencetest"

	"go.uber.org/zap"
)

// allVendors stands for every vendor and for our own edge.
func allVendors(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	for path, answer := range map[string]string{
		"/livez": "ok",
		"/2010-04-01/Accounts/" + devTwilioSID + ".json": `{"status":"active","type":"Full"}`,
		"/token":                     `{"access_token":"ya29.x","scope":"https://www.googleapis.com/auth/gmail.modify"}`,
		"/gmail/v1/users/me/profile": `{"emailAddress":"Support@example.org"}`,
		"/certs":                     `{"keys":[]}`,
		"/v1/models":                 `{"data":[{"id":"gpt-6-luna"}]}`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			user, token, basic := r.BasicAuth()
			switch {
			case strings.HasPrefix(path, "/2010") && (!basic || user != devTwilioSID || token != "right"),
				strings.HasPrefix(path, "/v1") && r.Header.Get("Authorization") != "Bearer sk-right",
				strings.HasPrefix(path, "/gmail") && r.Header.Get("Authorization") != "Bearer ya29.x":
				w.WriteHeader(http.StatusUnauthorized)
			default:
				fmt.Fprint(w, answer)
			}
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// healthy is an environment in which nothing is wrong.
func healthy(t *testing.T) map[string]string {
	dir := t.TempDir()
	keys, tls := filepath.Join(dir, "keys"), filepath.Join(dir, "tls")
	_, err := persistence.DevelopmentKeys(keys)
	require.NoError(t, err)
	require.NoError(t, developmentCA(tls))
	broker, err := kafkatest.Start(kafkatest.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", Log: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	require.NoError(t, createTopics(t.Context(), KafkaSettings{KafkaBrokers: []string{broker.Addr()}, KafkaPartitions: 1, KafkaReplicas: 1}, zap.NewNop()))
	v := allVendors(t)
	return map[string]string{
		"FTE_ENV": "dev", "FTE_ALLOW_INSECURE_UPSTREAMS": "true", "DATABASE_URL": persistencetest.URL(t), "KAFKA_BROKERS": broker.Addr(), "FTE_KEYS": keys,
		"FTE_TLS_CA": filepath.Join(tls, "ca.pem"), "FTE_TLS_CERT": filepath.Join(tls, "cert.pem"), "FTE_TLS_KEY": filepath.Join(tls, "key.pem"),
		"FTE_OPERATOR_TOKEN": strings.Repeat("t", 32), "FTE_PUBLIC_URL": v.URL,
		"TWILIO_ACCOUNT_SID": devTwilioSID, "TWILIO_AUTH_TOKEN": "right", "TWILIO_WHATSAPP_NUMBER": "whatsapp:+14155550100", "TWILIO_BASE_URL": v.URL,
		"GMAIL_MAILBOX": "support@example.org", "GMAIL_CLIENT_ID": "c", "GMAIL_CLIENT_SECRET": "s", "GMAIL_REFRESH_TOKEN": "r", "GMAIL_TOKEN_URL": v.URL + "/token", "GMAIL_BASE_URL": v.URL,
		"GMAIL_PUBSUB_TOPIC": "projects/p/topics/t", "GMAIL_PUSH_SUBSCRIPTION": "projects/p/subscriptions/s", "GMAIL_PUSH_AUDIENCE": "a", "GMAIL_PUSH_EMAIL": "e@p.iam.gserviceaccount.com",
		"GMAIL_CERTS_URL": v.URL + "/certs", "OPENAI_API_KEY": "sk-right", "OPENAI_BASE_URL": v.URL + "/v1",
	}
}

func TestDoctor(t *testing.T) {
	well := healthy(t)
	run := func(t *testing.T, changes map[string]string) (int, string) {
		t.Helper()
		e := map[string]string{}
		for k, v := range well {
			e[k] = v
		}
		for k, v := range changes {
			e[k] = v
		}
		setenv(t, e)
		t.Setenv("FTE_API", "")
		code, out, errs := fte(t, "doctor")
		require.Less(t, code, 2, errs)
		for line := range strings.Lines(out) {
			require.Regexp(t, `^(ok  |warn|FAIL) [^:]+: .+\n$`, line)
			require.NotContains(t, line, "right", "no credential is shown")
		}
		return code, out
	}
	code, out := run(t, nil)
	require.Zero(t, code, out)
	require.NotContains(t, out, "FAIL")
	for _, name := range []string{"settings", "DATABASE_URL", "schema", "keys of the database", "KAFKA_BROKERS", "FTE_PUBLIC_URL", "FTE_TLS_CERT", "TWILIO_AUTH_TOKEN", "GMAIL_REFRESH_TOKEN",
		"GMAIL_MAILBOX", "GMAIL_CERTS_URL", "OPENAI_API_KEY", "OPENAI_MODEL"} {
		require.Regexp(t, `(?m)^ok   `+name+`: `, out)
	}
	other := t.TempDir()
	_, err := persistence.DevelopmentKeys(other)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change map[string]string
		want   string
	}{
		"a setting that is wrong":     {map[string]string{"FTE_WEIGHT": "-1"}, "FAIL FTE_WEIGHT: "},
		"a database without a schema": {map[string]string{"DATABASE_URL": persistencetest.Empty(t)}, "FAIL schema: .*, fte migrate up"},
		"no database":                 {map[string]string{"DATABASE_URL": "postgres://fte:x@127.0.0.1:1/fte"}, "FAIL DATABASE_URL: "},
		"no broker":                   {map[string]string{"KAFKA_BROKERS": "127.0.0.1:1"}, "FAIL KAFKA_BROKERS: "},
		"no keys":                     {map[string]string{"FTE_KEYS": filepath.Join(other, "none")}, "FAIL FTE_KEYS: "},
		"a token of Twilio's":         {map[string]string{"TWILIO_AUTH_TOKEN": "wrong"}, "FAIL TWILIO_AUTH_TOKEN: "},
		"the sandbox":                 {map[string]string{"TWILIO_WHATSAPP_NUMBER": "whatsapp:+14155238886"}, "warn TWILIO_WHATSAPP_NUMBER: "},
		"a token of another mailbox":  {map[string]string{"GMAIL_MAILBOX": "sales@example.org"}, "FAIL GMAIL_MAILBOX: "},
		"a topic's short name":        {map[string]string{"GMAIL_PUBSUB_TOPIC": "t"}, "FAIL GMAIL_PUBSUB_TOPIC: "},
		"no mailbox":                  {map[string]string{"GMAIL_MAILBOX": ""}, "warn GMAIL_MAILBOX: "},
		"a key of OpenAI's":           {map[string]string{"OPENAI_API_KEY": "sk-wrong"}, "FAIL OPENAI_API_KEY: "},
		"a model that is not there":   {map[string]string{"OPENAI_MODEL": "gpt-0"}, "FAIL OPENAI_MODEL: "},
		"a public URL of others":      {map[string]string{"FTE_PUBLIC_URL": well["FTE_PUBLIC_URL"] + "/elsewhere"}, "FAIL FTE_PUBLIC_URL: "},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := run(t, c.change)
			require.Regexp(t, "(?m)^"+c.want, out)
			require.Equal(t, map[bool]int{true: 1, false: 0}[strings.HasPrefix(c.want, "FAIL")], code, out)
		})
	}
}

// With -dir the settings are those of the fte dev that runs there.
func TestDoctorOfAFteDev(t *testing.T) {
	well := healthy(t)
	setenv(t, nil)
	t.Setenv("FTE_API", "")
	health := `{"status":"degraded","channels":{"email":{"status":"down","detail":"Gmail is away"}},"dependencies":{"postgres":{"status":"up"}}}`
	mux := http.NewServeMux()
	for path, answer := range map[string]string{"/livez": "ok", "/_ctl/faults": "[]", "/api/v1/members": `{"items":[]}`, "/health": health} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(path, "/api") && r.Header.Get("Authorization") != "Bearer "+well["FTE_OPERATOR_TOKEN"] {
				w.WriteHeader(http.StatusUnauthorized)
			}
			fmt.Fprint(w, answer)
		})
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	dir := filepath.Dir(well["FTE_KEYS"])
	raw, err := json.Marshal(devJSON{HTTP: server.URL, Sim: server.URL, DatabaseURL: well["DATABASE_URL"], Kafka: []string{well["KAFKA_BROKERS"]}, OperatorToken: well["FTE_OPERATOR_TOKEN"]})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dev.json"), raw, 0o600))
	code, out, errs := fte(t, "doctor", "-dir", dir)
	require.Zero(t, code, out+errs)
	require.NotContains(t, out, "FAIL")
	require.Contains(t, out, "ok   simulated vendors: ")
	require.Contains(t, out, "ok   GMAIL_MAILBOX: simulated")
	require.Contains(t, out, "warn channel email: down: Gmail is away, docs/runbook.md")
	require.Empty(t, os.Getenv("DATABASE_URL"), "the environment is as before")
}

func TestDoctorWithoutARunningSystem(t *testing.T) {
	code, _, errs := fte(t, "doctor", "-dir", t.TempDir())
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no fte dev runs there")
}
