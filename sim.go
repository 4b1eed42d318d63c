package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap"

	"fte/agent/openai/openaitest"
	"fte/channel/email/gmailtest"
	"fte/channel/simctl"
	"fte/channel/whatsapp/twiliotest"
	"fte/ingress/kafka/kafkatest"
)

// webhookRetries is how Twilio is told to call and retry our webhook
// (channels.md TW-04); the fragment configures it and is not signed.
const webhookRetries = "#ct=2000&rt=3500&rc=3&rp=all"

// runSim serves the simulated vendors over HTTP: Twilio under /2010-04-01/, Gmail
// under /gmail/, the model server under /v1/, their control under /_ctl/.
func runSim(ctx context.Context, args []string, _ io.Writer) error {
	followSupervisor()
	f := flags("sim")
	addr := f.String("addr", "127.0.0.1:8081", "address to listen on")
	dir := f.String("dir", ".fte/sim", "folder of the vendors' state")
	edge := f.String("edge", "", "address of the edge, if not where FTE_PUBLIC_URL says")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if os.Getenv("FTE_ENV") == "production" {
		return errors.New("simulated vendors are refused in production (FTE_ENV)")
	}
	log, err := newLogger("info", os.Stderr)
	if err != nil {
		return err
	}
	h, closeAll, err := newSim(*dir, *edge, log.Named("sim"))
	if err != nil {
		return err
	}
	defer closeAll()
	return serveHTTP(ctx, *addr, h)
}

// newSim puts the simulated vendors together. They call the edge, HOST:PORT, under
// the public URL that it verifies; without one, that URL itself.
func newSim(dir, edge string, log *zap.Logger) (http.Handler, func(), error) {
	scale := 1.0
	if s := os.Getenv("FTE_TIME_SCALE"); s != "" {
		if _, err := fmt.Sscanf(s, "%g", &scale); err != nil || scale <= 0 || scale > 1 {
			return nil, nil, fmt.Errorf("read FTE_TIME_SCALE: %q is not above 0 and at most 1", s)
		}
	}
	get := func(name, otherwise string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	ctl, err := simctl.Open(simctl.Config{Dir: dir, Log: log})
	if err != nil {
		return nil, nil, err
	}
	public, _, _ := strings.Cut(get("FTE_PUBLIC_URL", "http://127.0.0.1:8080"), "#")
	public = strings.TrimSuffix(public, "/")
	local := public
	if edge != "" {
		local = "http://" + edge
	}
	twilio, err := twiliotest.New(twiliotest.Config{
		Dir: dir, Control: ctl, AccountSID: get("TWILIO_ACCOUNT_SID", devTwilioSID), AuthToken: get("TWILIO_AUTH_TOKEN", "simulated"),
		Number: get("TWILIO_WHATSAPP_NUMBER", devNumber), WebhookURL: public + "/webhooks/whatsapp" + webhookRetries,
		Public: public, Deliver: local, TimeScale: scale, Log: log,
	})
	if err != nil {
		ctl.Close()
		return nil, nil, err
	}
	gmail, err := gmailtest.New(gmailtest.Config{
		Dir: dir, Control: ctl, Mailbox: get("GMAIL_MAILBOX", devMailbox), PushURL: local + "/webhooks/gmail", Audience: get("GMAIL_PUSH_AUDIENCE", devAudience),
		PushEmail: get("GMAIL_PUSH_EMAIL", devPushEmail), Subscription: get("GMAIL_PUSH_SUBSCRIPTION", devSubscription), Auth: true, TimeScale: scale, Log: log,
	})
	if err != nil {
		twilio.Close()
		ctl.Close()
		return nil, nil, err
	}
	model := openaitest.New()
	ctl.OnReset(model.Reset)
	mux := http.NewServeMux()
	mux.Handle("/_ctl/", ctl.Handler())
	mux.Handle("/_ctl/whatsapp/", twilio)
	mux.Handle("/_media/", twilio)
	mux.Handle("/_ctl/model/", model.Control())
	mux.Handle("/2010-04-01/", twilio) // intercepts its own faults
	for _, path := range []string{"/_ctl/gmail/", "/gmail/", "/upload/gmail/", "/token", "/certs"} {
		mux.Handle(path, gmail)
	}
	mux.Handle("/v1/", ctl.Faults.Intercept("openai", model.Handler()))
	return mux, func() { gmail.Close(); twilio.Close(); ctl.Close() }, nil
}

// runBroker serves the embedded Kafka-protocol broker.
func runBroker(ctx context.Context, args []string, _ io.Writer) error {
	followSupervisor()
	f := flags("broker")
	addr := f.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes the one of the last run")
	dir := f.String("dir", ".fte/kafka", "folder of the records")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if os.Getenv("FTE_ENV") == "production" {
		return errors.New("the embedded broker is refused in production (FTE_ENV): KAFKA_BROKERS names a real one")
	}
	log, err := newLogger("info", os.Stderr)
	if err != nil {
		return err
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1) // one goroutine does the broker's work; more threads would only wake each other
	}
	b, err := kafkatest.Start(kafkatest.Config{Dir: *dir, Addr: *addr, Log: log.Named("broker")})
	if err != nil {
		return err
	}
	defer b.Close()
	<-ctx.Done()
	return nil
}

// serveHTTP serves h until ctx ends.
func serveHTTP(ctx context.Context, addr string, h http.Handler) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", addr, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if s.Shutdown(stop) != nil {
		s.Close() // requests that a fault made hang
	}
	return nil
}
