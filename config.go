package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"fte/support"
)

// Config is every setting of `fte serve`, read from the environment and checked
// whole: what is wrong is named all at once, before anything starts.
type Config struct {
	Env     string `env:"FTE_ENV" envDefault:"production" what:"production or dev; dev allows simulated vendors and development keys"`
	Cluster string `env:"FTE_CLUSTER" envDefault:"fte" what:"name of the installation; two may share a database server"`
	Member  string `env:"FTE_MEMBER" what:"this member's name, stable over restarts; default: the host's name"`
	Build   string `env:"FTE_BUILD" what:"build or version shown in the membership; default: the binary's"`

	Listen        string        `env:"FTE_LISTEN" envDefault:"0.0.0.0:8080" what:"address of the public edge and the operator API"`
	PublicURL     string        `env:"FTE_PUBLIC_URL" what:"base URL that vendors call; signatures are computed over it"`
	PeerListen    string        `env:"FTE_PEER_LISTEN" envDefault:"0.0.0.0:8090" what:"address for traffic between members"`
	PeerAdvertise string        `env:"FTE_PEER_ADVERTISE" what:"host or host:port that other members reach this one at; default: the listen address"`
	Weight        float64       `env:"FTE_WEIGHT" envDefault:"1" what:"share of customers relative to other members, above 0"`
	TLSCA         string        `env:"FTE_TLS_CA" what:"file: certificate authority of the cluster"`
	TLSCert       string        `env:"FTE_TLS_CERT" what:"file: this member's certificate"`
	TLSKey        string        `env:"FTE_TLS_KEY" what:"file: its private key"`
	DrainTimeout  time.Duration `env:"FTE_DRAIN_TIMEOUT" envDefault:"20s" what:"how long busy customers may finish their turn at SIGTERM"`

	DatabaseURL   string `env:"DATABASE_URL" what:"postgres://… (15 to 18)"`
	DatabaseConns int    `env:"FTE_DATABASE_CONNS" envDefault:"16" what:"most connections of this process, 2 to 500"`
	KeysDir       string `env:"FTE_KEYS" what:"folder with the keysets"`
	OperatorToken string `env:"FTE_OPERATOR_TOKEN" what:"bearer token of the operator API, 32 characters or more"`

	KafkaSettings
	GmailSettings
	FormSettings

	TwilioSID      string   `env:"TWILIO_ACCOUNT_SID" what:"Twilio account"`
	TwilioTokens   []string `env:"TWILIO_AUTH_TOKEN" what:"auth token; primary,previous during a rotation"`
	TwilioNumber   string   `env:"TWILIO_WHATSAPP_NUMBER" what:"our number, whatsapp:+E164"`
	TwilioURL      string   `env:"TWILIO_BASE_URL" envDefault:"https://api.twilio.com" what:"Twilio's API"`
	Model          string   `env:"FTE_MODEL" envDefault:"auto" what:"local, openai, or auto: openai where a key is set"`
	OpenAIKey      string   `env:"OPENAI_API_KEY" what:"key of the model service"`
	OpenAIURL      string   `env:"OPENAI_BASE_URL" envDefault:"https://api.openai.com/v1" what:"its base URL"`
	OpenAIModel    string   `env:"OPENAI_MODEL" envDefault:"gpt-6-luna" what:"model id"`
	Contact        string   `env:"FTE_CONTACT" envDefault:"reply HUMAN" what:"how a customer reaches a person, shown on WhatsApp; at most 60 characters"`
	CompanyName    string   `env:"FTE_COMPANY" envDefault:"Fieldnote" what:"name the agent speaks for"`
	Competitors    []string `env:"FTE_COMPETITORS" what:"names the agent never says"`
	AllowedLinks   []string `env:"FTE_ALLOWED_LINKS" envDefault:"fieldnote.example,help.fieldnote.example" what:"hosts that answers may link to"`
	InsecureVendor bool     `env:"FTE_ALLOW_INSECURE_UPSTREAMS" what:"true lets vendors be plain http on this machine; refused in production"`

	RateLimits   string      `env:"FTE_RATE_LIMITS" envDefault:"on" what:"on or off; off is refused in production"`
	ClockOffset  clockOffset `env:"FTE_CLOCK_OFFSET" what:"shifts this process's clock; @FILE reads how far from a file, again and again, {member} in its name being this member's; refused in production"`
	TimeScale    float64     `env:"FTE_TIME_SCALE" envDefault:"1" what:"shortens the waits for vendors, above 0 to 1; other than 1 is refused in production"`
	SOCKS5       string      `env:"FTE_SOCKS5" what:"host:port of a SOCKS5 proxy for every outgoing connection"`
	Failpoints   string      `env:"FTE_FAILPOINTS" what:"where this process dies, in a build with -tags failpoint: name=kill|exit|panic|sleep:2s[@nth hit|~probability],…; refused in production"`
	FailpointDir string      `env:"FTE_FAILPOINT_DIR" what:"folder for the evidence of failpoints"`
	DevDir       string      `env:"FTE_DEV_DIR" what:"set by fte dev: its folder; refused in production"`
	LogLevel     string      `env:"FTE_LOG_LEVEL" envDefault:"info" what:"debug, info, warn or error"`

	Roles []string `env:"-"`
}

// roles are the parts a node can run.
var allRoles = []string{"webhook", "intake", "actors", "outbox", "console"}

// loadConfig reads the environment for a node of the given roles.
func loadConfig(roles []string) (Config, error) {
	var c Config
	var errs []error
	if err := env.Parse(&c); err != nil {
		var all env.AggregateError
		if !errors.As(err, &all) {
			all.Errors = []error{err}
		}
		for _, err := range all.Errors {
			errs = append(errs, unreadable(err))
		}
	}
	c.Roles = roles
	if c.Member == "" {
		c.Member, _ = os.Hostname()
	}
	c.ClockOffset.of(c.Member)
	if err := errors.Join(append(errs, c.validate()...)...); err != nil {
		return Config{}, fmt.Errorf("read the settings: %s", strings.Join(strings.Split(err.Error(), "\n"), "; "))
	}
	return c, nil
}

// unreadable names the variable of a value that could not be parsed, where the
// library names our field.
func unreadable(err error) error {
	var bad env.ParseError
	if errors.As(err, &bad) {
		if f, ok := reflect.TypeFor[Config]().FieldByName(bad.Name); ok {
			return fmt.Errorf("%s: cannot be read as %s: %w", f.Tag.Get("env"), bad.Type, bad.Err)
		}
	}
	return err
}

// validate names every bad setting.
func (c Config) validate() (errs []error) {
	bad := func(name, format string, args ...any) { errs = append(errs, fmt.Errorf(name+": "+format, args...)) }
	need := func(name, value string) {
		if value == "" {
			bad(name, "must be set")
		}
	}
	for _, r := range c.Roles {
		if !slices.Contains(allRoles, r) {
			bad("-run", "there is no role %q; the roles are %s", r, strings.Join(allRoles, ", "))
		}
	}
	if len(c.Roles) == 0 {
		bad("-run", "names no role; the roles are %s", strings.Join(allRoles, ", "))
	}
	if c.Env != "production" && c.Env != "dev" {
		bad("FTE_ENV", "%q is neither production nor dev", c.Env)
	}
	need("DATABASE_URL", c.DatabaseURL)
	if c.DatabaseURL != "" && !isPostgresURL(c.DatabaseURL) {
		bad("DATABASE_URL", "is not a postgres:// URL")
	}
	c.KafkaSettings.validate(bad)
	c.GmailSettings.validate(c, bad)
	c.FormSettings.validate(bad)
	need("FTE_KEYS", c.KeysDir)
	for name, v := range map[string]string{"FTE_TLS_CA": c.TLSCA, "FTE_TLS_CERT": c.TLSCert, "FTE_TLS_KEY": c.TLSKey} {
		need(name, v)
	}
	for name, v := range map[string]string{"FTE_LISTEN": c.Listen, "FTE_PEER_LISTEN": c.PeerListen} {
		if _, _, err := net.SplitHostPort(v); err != nil {
			bad(name, "%q is not host:port", v)
		}
	}
	if c.Weight <= 0 {
		bad("FTE_WEIGHT", "%v is not above 0", c.Weight)
	}
	if c.DatabaseConns < 2 || c.DatabaseConns > 500 {
		bad("FTE_DATABASE_CONNS", "%d is not within 2 to 500", c.DatabaseConns)
	}
	if c.TimeScale <= 0 || c.TimeScale > 1 {
		bad("FTE_TIME_SCALE", "%v is not above 0 and at most 1", c.TimeScale)
	}
	if c.DrainTimeout <= 0 || c.DrainTimeout > 110*time.Second {
		bad("FTE_DRAIN_TIMEOUT", "%v is not above 0 and at most 110s", c.DrainTimeout)
	}
	if !slices.Contains([]string{"on", "off"}, c.RateLimits) {
		bad("FTE_RATE_LIMITS", "%q is neither on nor off", c.RateLimits)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		bad("FTE_LOG_LEVEL", "%q is not debug, info, warn or error", c.LogLevel)
	}
	if !slices.Contains([]string{"auto", "local", "openai"}, c.Model) {
		bad("FTE_MODEL", "%q is not auto, local or openai", c.Model)
	}
	if c.Model == "openai" {
		need("OPENAI_API_KEY", c.OpenAIKey)
	}
	if len([]rune(c.Contact)) > 60 {
		bad("FTE_CONTACT", "is longer than 60 characters")
	}
	need("TWILIO_ACCOUNT_SID", c.TwilioSID)
	if len(c.TwilioTokens) == 0 || len(c.TwilioTokens) > 2 || slices.Contains(c.TwilioTokens, "") {
		bad("TWILIO_AUTH_TOKEN", "must be one token, or primary,previous")
	}
	if !strings.HasPrefix(c.TwilioNumber, "whatsapp:+") {
		bad("TWILIO_WHATSAPP_NUMBER", "%q is not whatsapp:+E164", c.TwilioNumber)
	}
	if c.has("webhook") || c.has("outbox") || c.has("actors") {
		c.validateURL(bad, "FTE_PUBLIC_URL", c.PublicURL)
	}
	c.validateURL(bad, "TWILIO_BASE_URL", c.TwilioURL)
	c.validateURL(bad, "OPENAI_BASE_URL", c.OpenAIURL)
	if (c.has("console") || c.DevDir != "") && len(c.OperatorToken) < 32 {
		bad("FTE_OPERATOR_TOKEN", "must have 32 characters or more")
	}
	if err := support.CheckFailpoints(c.Failpoints, c.FailpointDir); err != nil {
		bad("FTE_FAILPOINTS", "%w", err)
	}
	if c.production() {
		if support.PlantedBug != support.NoBug {
			bad("FTE_ENV", "this build has a planted bug, %s: production refuses it", support.PlantedBug)
		}
		for name, set := range map[string]bool{"FTE_ALLOW_INSECURE_UPSTREAMS": c.InsecureVendor, "FTE_RATE_LIMITS=off": c.RateLimits == "off",
			"FTE_CLOCK_OFFSET": c.ClockOffset != (clockOffset{}), "FTE_TIME_SCALE": c.TimeScale != 1, "FTE_DEV_DIR": c.DevDir != "", "FTE_FAILPOINTS": c.Failpoints != "", "FTE_SITES with loopback": c.allowsLoopback()} {
			if set {
				bad(name, "is refused in production")
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

func isPostgresURL(v string) bool {
	u, err := url.Parse(v)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

// validateURL refuses what is no https URL; plain http only with
// FTE_ALLOW_INSECURE_UPSTREAMS (SE-09).
func (c Config) validateURL(bad func(string, string, ...any), name, v string) {
	u, err := url.Parse(v)
	switch {
	case v == "":
		bad(name, "must be set")
	case err != nil || u.Host == "":
		bad(name, "is not a URL")
	case u.Scheme != "https" && !(u.Scheme == "http" && c.InsecureVendor):
		bad(name, "must be https")
	}
}

func (c Config) production() bool     { return c.Env == "production" }
func (c Config) has(role string) bool { return slices.Contains(c.Roles, role) }
func (c Config) now() time.Time       { return time.Now().Add(c.ClockOffset.now()) }
func (c Config) useOpenAI() bool {
	return c.Model == "openai" || c.Model == "auto" && c.OpenAIKey != ""
}
