package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// good is a complete development environment.
func good() map[string]string {
	return map[string]string{
		"FTE_ENV": "dev", "FTE_MEMBER": "w1", "DATABASE_URL": "postgres://u:p@127.0.0.1:5432/fte", "KAFKA_BROKERS": "127.0.0.1:9092", "FTE_KEYS": "keys",
		"FTE_TLS_CA": "ca.pem", "FTE_TLS_CERT": "cert.pem", "FTE_TLS_KEY": "key.pem", "FTE_OPERATOR_TOKEN": strings.Repeat("t", 32),
		"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "a,b", "TWILIO_WHATSAPP_NUMBER": "whatsapp:+14155238886", "FTE_PUBLIC_URL": "https://fte.example",
	}
}

// setenv gives the process exactly the settings of m.
func setenv(t *testing.T, m map[string]string) {
	t.Helper()
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name := f.Tag.Get("env")
		if name == "" || name == "-" {
			continue
		}
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	for k, v := range m {
		t.Setenv(k, v)
	}
}

func TestConfigIsRead(t *testing.T) {
	setenv(t, good())
	c, err := loadConfig(allRoles)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, c.TwilioTokens)
	require.Equal(t, 1.0, c.TimeScale)
	require.False(t, c.production())
	require.Equal(t, int32(12), c.KafkaPartitions)
	require.False(t, c.mails())
}

// A channel's settings are asked for as soon as one names it.
func TestAChannelIsConfiguredWholeOrNotAtAll(t *testing.T) {
	for name, c := range map[string]struct {
		set   map[string]string
		wants []string
	}{
		"a mailbox without credentials": {map[string]string{"GMAIL_MAILBOX": "help@shop.example"},
			[]string{"GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN", "GMAIL_PUBSUB_TOPIC", "GMAIL_PUSH_SUBSCRIPTION", "GMAIL_PUSH_AUDIENCE", "GMAIL_PUSH_EMAIL"}},
		"a mailbox that is none":     {map[string]string{"GMAIL_MAILBOX": "help"}, []string{"GMAIL_MAILBOX"}},
		"a site without an origin":   {map[string]string{"FTE_SITES": "shop"}, []string{"FTE_SITES"}},
		"an origin with a path":      {map[string]string{"FTE_SITES": "shop@https://shop.example/"}, []string{"FTE_SITES"}},
		"too many proxies":           {map[string]string{"FTE_TRUSTED_PROXIES": "11"}, []string{"FTE_TRUSTED_PROXIES"}},
		"an unknown mechanism":       {map[string]string{"KAFKA_SASL_MECHANISM": "GSSAPI", "KAFKA_SASL_USER": "u", "KAFKA_SASL_PASSWORD": "p"}, []string{"KAFKA_SASL_MECHANISM"}},
		"a user without a mechanism": {map[string]string{"KAFKA_SASL_USER": "u", "KAFKA_SASL_PASSWORD": "p"}, []string{"KAFKA_SASL_USER"}},
		"an authority without TLS":   {map[string]string{"KAFKA_TLS_CA": "ca.pem"}, []string{"KAFKA_TLS_CA"}},
		"no partitions":              {map[string]string{"KAFKA_PARTITIONS": "0"}, []string{"KAFKA_PARTITIONS"}},
		"no replicas":                {map[string]string{"KAFKA_REPLICAS": "0"}, []string{"KAFKA_REPLICAS"}},
	} {
		t.Run(name, func(t *testing.T) {
			setenv(t, good())
			for k, v := range c.set {
				t.Setenv(k, v)
			}
			_, err := loadConfig(allRoles)
			for _, w := range c.wants {
				require.ErrorContains(t, err, w)
			}
		})
	}
	setenv(t, good())
	t.Setenv("FTE_SITES", "shop@https://shop.example,shop@https://www.shop.example,dev@loopback")
	c, err := loadConfig(allRoles)
	require.NoError(t, err)
	sites, err := c.sites()
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"shop": {"https://shop.example", "https://www.shop.example"}, "dev": {"loopback"}}, sites)
}

// Every bad variable is named, all at once, before anything starts.
func TestEveryBadSettingIsNamedAtOnce(t *testing.T) {
	setenv(t, map[string]string{
		"FTE_ENV": "staging", "DATABASE_URL": "mysql://x", "KAFKA_BROKERS": "nohost", "FTE_WEIGHT": "0", "FTE_DATABASE_CONNS": "many", "FTE_TIME_SCALE": "2",
		"FTE_RATE_LIMITS": "maybe", "FTE_LOG_LEVEL": "loud", "FTE_MODEL": "psychic", "TWILIO_WHATSAPP_NUMBER": "+1415", "FTE_OPERATOR_TOKEN": "short",
		"FTE_PUBLIC_URL": "http://fte.example", "FTE_LISTEN": "8080", "FTE_DRAIN_TIMEOUT": "2h", "FTE_CLOCK_OFFSET": "yesterday",
	})
	_, err := loadConfig([]string{"webhook", "console", "cook"})
	require.Error(t, err)
	for _, name := range []string{"FTE_ENV", "DATABASE_URL", "KAFKA_BROKERS", "FTE_WEIGHT", "FTE_DATABASE_CONNS", "FTE_TIME_SCALE", "FTE_RATE_LIMITS", "FTE_LOG_LEVEL", "FTE_MODEL",
		"TWILIO_WHATSAPP_NUMBER", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "FTE_OPERATOR_TOKEN", "FTE_PUBLIC_URL", "FTE_LISTEN", "FTE_DRAIN_TIMEOUT", "FTE_CLOCK_OFFSET",
		"FTE_KEYS", "FTE_TLS_CA", `"cook"`} {
		require.ErrorContains(t, err, name)
	}
	require.NotContains(t, err.Error(), "\n", "one line")
}

func TestProductionRefusesWhatIsForDevelopment(t *testing.T) {
	for name, value := range map[string]string{"FTE_ALLOW_INSECURE_UPSTREAMS": "true", "FTE_RATE_LIMITS": "off", "FTE_CLOCK_OFFSET": "5m", "FTE_TIME_SCALE": "0.5", "FTE_DEV_DIR": "x", "FTE_FAILPOINTS": "send.sent=kill", "FTE_SITES": "dev@loopback"} {
		t.Run(name, func(t *testing.T) {
			env := good()
			delete(env, "FTE_ENV") // production is what is assumed when nothing is said
			setenv(t, env)
			_, err := loadConfig(allRoles)
			require.NoError(t, err)
			t.Setenv(name, value)
			_, err = loadConfig(allRoles)
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, "is refused in production")
		})
	}
}

// A vendor over plain http, as every simulated one is, is refused unless it is
// allowed, which production never does.
func TestSimulatedVendorsAreRefusedInProduction(t *testing.T) {
	for _, name := range []string{"TWILIO_BASE_URL", "OPENAI_BASE_URL", "FTE_PUBLIC_URL"} {
		env := good()
		delete(env, "FTE_ENV")
		env[name] = "http://127.0.0.1:8081"
		setenv(t, env)
		_, err := loadConfig(allRoles)
		require.ErrorContains(t, err, name+": must be https")
	}
}
