package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// plan says which of our packages each of our packages may import. A new package
// joins the plan in the commit that creates it. Only package main, at the root,
// may import everything; tests may also import the …test packages.
var plan = map[string]string{
	"support":                     "",
	"migrations":                  "",
	"cluster":                     "cluster/clusterpb",
	"cluster/clusterpb":           "",
	"cluster/clustertest":         "cluster",
	"actors/customer":             "support",
	"actors/mailbox":              "support",
	"agent":                       "support",
	"agent/tool":                  "support agent",
	"agent/local":                 "support agent",
	"agent/knowledge":             "support agent",
	"agent/openai":                "support agent",
	"agent/openai/openaitest":     "",
	"channel/simctl":              "support",
	"channel/email":               "support",
	"channel/email/gmailtest":     "support channel/simctl",
	"channel/webform":             "support",
	"channel/whatsapp":            "support",
	"channel/whatsapp/twiliotest": "support channel/simctl",
	"channel/outbox":              "support",
	"ingress":                     "support",
	"ingress/webhook":             "support",
	"ingress/kafka":               "support ingress",
	"ingress/kafka/kafkatest":     "",
	"ingress/console":             "support",
	"ingress/openapi":             "",
	"ingress/proof":               "support",
	"redact":                      "",
	"webclient":                   "",
	"persistence":                 "support migrations",
	"persistence/embedded":        "",
	"persistence/persistencetest": "persistence persistence/embedded migrations",
	"chaos":                       "support chaos/harness chaos/fault chaos/workload chaos/checker chaos/report",
	"chaos/load":                  "chaos/harness chaos/checker",
	"chaos/harness":               "support chaos/fault chaos/workload chaos/checker",
	"chaos/fault":                 "",
	"chaos/workload":              "support chaos/checker",
	"chaos/checker":               "support",
	"chaos/report":                "support chaos/checker",
}

// vendors says which one package of ours each vendor library stays behind
// (root excepted), so that the core is built and tested without them.
var vendors = map[string]string{
	"github.com/twilio/twilio-go":       "channel/whatsapp",
	"github.com/openai/openai-go":       "agent/openai",
	"github.com/IBM/sarama":             "ingress/kafka chaos/harness",
	"github.com/twmb/franz-go":          "ingress/kafka/kafkatest",
	"github.com/gofiber/fiber":          "ingress/webhook",
	"github.com/asynkron/protoactor-go": "cluster",
	"github.com/tink-crypto/tink-go":    "persistence",
	"github.com/jackc/pgx":              "persistence chaos/checker chaos/harness",
	"github.com/nyaruka/phonenumbers":   "channel/whatsapp",
	"github.com/pressly/goose":          "persistence",
	"google.golang.org/api":             "channel/email",
	"github.com/coreos/go-oidc":         "channel/email",
	"github.com/jhillyerd/enmime":       "channel/email",
	"github.com/emersion/go-msgauth":    "channel/email",
	"github.com/xdg-go/scram":           "ingress/kafka",
}

// TestFloorPlan checks that packages import only what the plan allows them.
func TestFloorPlan(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	require.NoError(t, err, "go list")
	seen := 0
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, ours := strings.CutPrefix(pkg, "fte/")
		if !ours {
			continue
		}
		seen++
		allowed, known := plan[name]
		if !known {
			t.Errorf("%s is not in the plan", name)
		}
		for imp := range strings.FieldsSeq(imports) {
			if imp, ours := strings.CutPrefix(imp, "fte/"); ours && !slices.Contains(strings.Fields(allowed), imp) {
				t.Errorf("%s imports %s", name, imp)
			}
			for vendor, behind := range vendors {
				if strings.HasPrefix(imp, vendor) && !slices.ContainsFunc(strings.Fields(behind), func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") }) {
					t.Errorf("%s imports %s, which stays behind %s", name, imp, behind)
				}
			}
		}
	}
	require.Greater(t, seen, 10, "packages seen")
}
